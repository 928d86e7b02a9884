"""`dcgan report`: the scores of the last run beside those of real data. `make repro` ends with it."""

import argparse
from typing import Any

from dcgan.commands.committed_run import committed_run_note
from dcgan.evaluation.report import protocol_version, read_scores, score_rows, text_table
from dcgan.paths import REPORT, SAMPLE_GRID, SCORES_FILE
from dcgan.scores import PROTOCOL_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markdown",
        nargs="?",
        const="",
        metavar="REV",
        help="print a Markdown table instead; with REV, next to the scores of that Git revision or DVC experiment",
    )


def run(args: argparse.Namespace) -> None:
    scores = read_scores(SCORES_FILE)
    if args.markdown is not None:
        print(_markdown(scores, args.markdown))
        return
    print(text_table(scores))
    print()
    if note := committed_run_note():
        print(note)
    for what, path in (("digits", SAMPLE_GRID), ("report", REPORT)):
        if path.exists():
            print(f"{what:<9}{path.resolve()}")
    print("compare  make ui")
    print("quiz     dcgan quiz")


def _markdown(scores: dict[str, Any], revision: str) -> str:
    """The scores as a section of a pull request's report.

    Raises:
        UserError: unknown revision, or its scores file is not JSON.
    """
    from dcgan.gate.report import Table  # imports scipy, which takes longer than the table of the terminal
    from dcgan.gate.revisions import read_at, resolve

    columns, notes = {"here": scores}, []
    if revision:
        other = read_at(resolve(revision), SCORES_FILE)
        if protocol_version(other) == PROTOCOL_VERSION:
            columns[revision] = other
        else:
            found = (
                f"protocol version {protocol_version(other)}, not {PROTOCOL_VERSION}" if other else f"no {SCORES_FILE}"
            )
            notes.append(f"Not compared with {revision}: it has {found}.")
    values = [{row.title: row.generated for row in score_rows(column)} for column in columns.values()]
    rows = [
        [row.title, row.better, *(column.get(row.title, "-") for column in values), row.real, row.question]
        for row in score_rows(scores)
    ]
    table = Table(["score", "better", *columns, "real digits", "what it measures"], rows)
    return "\n\n".join(["### Scores", table.markdown(), *notes])
