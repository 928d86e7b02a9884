"""The text at the head of a run's page in MLflow: what the run is, its scores, and why it ended."""

from dcgan.support.errors import UserError
from dcgan.tracking.locations import redact_password
from dcgan.tracking.names import END_TAG
from dcgan.tracking.run_log import RunLog

NOTE_TAG = "mlflow.note.content"  # MLflow shows it as the description, in Markdown
LONGEST_REASON = 500  # characters
SCORE = "eval/"  # start of the series that hold scores, and of those that are not the headline
DETAIL = "eval/details/"


def log_description(run_log: RunLog) -> None:
    """Describe the run as it is now."""
    parts = [_origin(run_log), _scores(run_log), _end(run_log)]
    run_log.log_tags({NOTE_TAG: "\n\n".join(filter(None, parts))})


def log_end(run_log: RunLog, status: str, error: BaseException | str) -> None:
    """End a run that failed or was killed, with the reason as a tag and in the description."""
    reason = error if isinstance(error, str) else _reason(error)
    run_log.log_tags({END_TAG: redact_password(reason)[:LONGEST_REASON]})
    log_description(run_log)
    run_log.finish(status)


def log_resumption(run_log: RunLog) -> None:
    """RUNNING again; the reason of the former end no longer counts."""
    run_log.resume()
    if run_log.tags.get(END_TAG):
        run_log.log_tags({END_TAG: ""})
        log_description(run_log)


def _origin(run_log: RunLog) -> str:
    if run_log.is_restored:
        return "Logged from files that DVC restored from a cache or a remote: where and when they were made is unknown."
    if settings := run_log.tags.get("sweep.settings"):
        return f"Sweep over `{settings}`. Its runs are the children of this one."
    what = f"Another evaluation of the model of `{run_log.parent}`" if run_log.parent else "Training"
    tags = run_log.tags
    code = f"commit `{tags['git.commit'][:10]}`" if "git.commit" in tags else ""
    changed = "uncommitted changes" if tags.get("git.dirty") == "true" else ""
    experiment = f"DVC experiment `{tags['dvc.exp_name']}`" if "dvc.exp_name" in tags else ""
    host = f"machine `{tags['host']}`" if "host" in tags else ""
    details = ", ".join(filter(None, [code, changed, experiment, host]))
    return f"{what} ({details})." if details else f"{what}."


def _scores(run_log: RunLog) -> str:
    series = {key[1] for key in run_log.logged("point") if key[1].startswith(SCORE) and key[2] == 0}
    values = {key: float(run_log.value("point", key, 0)) for key in sorted(series, key=_headline_first)}
    rows = [f"| {key.rpartition('/')[2]} | {value:.4g} |" for key, value in values.items()]
    return "\n".join(["| score | value |", "|---|---|", *rows]) if rows else ""


def _headline_first(series: str) -> tuple[bool, str]:
    return series.startswith(DETAIL), series


def _end(run_log: RunLog) -> str:
    reason = run_log.tags.get(END_TAG)
    return f"**Ended early:** {reason}" if reason else ""


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UserError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
