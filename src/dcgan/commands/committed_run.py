"""Whether the scores here are of a run made here, or those that came with the clone."""

from dcgan.paths import REPORT, SCORES_FILE


def committed_run_note() -> str | None:
    """What to say about `SCORES_FILE` where no run was made: Git brings the scores, but not the report beside them."""
    if REPORT.exists() or not SCORES_FILE.exists():
        return None
    return f"Nothing was run here: {SCORES_FILE} holds the scores of the committed run, which came with the clone."
