"""`dcgan check`: is the model worse than the baseline, by more than noise over seeds?"""

import argparse
import json
import os
import sys
from typing import TextIO

from dcgan.commands.committed_run import committed_run_note
from dcgan.gate.compare import Comparison, compare
from dcgan.gate.power import power_of
from dcgan.gate.report import comparison_json, comparison_report
from dcgan.gate.revisions import library_versions, read_reference, read_run
from dcgan.gate.runs import NotComparable
from dcgan.gate_settings import GATE
from dcgan.paths import user_path
from dcgan.support.errors import UserError, print_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        type=_source,
        default=[str(GATE.scores_file)],
        metavar="RUN",
        help="the candidate's runs, one per seed: a scores file, a DVC experiment or a Git revision "
        f"(default: {GATE.scores_file})",
    )
    parser.add_argument(
        "--baseline",
        type=user_path,
        default=GATE.baseline_file,
        metavar="FILE",
        help=f"default: {GATE.baseline_file}",
    )
    parser.add_argument(
        "--rev",
        metavar="REV",
        help="compare with the baseline of this Git revision; a revision without one is represented by its own "
        f"{GATE.scores_file}, with the spread over seeds of the baseline here",
    )
    parser.add_argument("--json", action="store_true", help="JSON to stdout, the tables to stderr")


def _source(text: str) -> str:
    """A scores file is relative to the user's folder; anything else names an experiment or a revision."""
    return str(user_path(text)) if text.endswith(".json") or os.path.exists(text) else text


def run(args: argparse.Namespace) -> int:
    return int(compared(args.runs, args.baseline, args.rev, args.json).failed)


def compared(
    runs: list[str], baseline: os.PathLike = GATE.baseline_file, rev: str | None = None, as_json: bool = False
) -> Comparison:
    """Compare and report; the arguments are the options of `dcgan check`.

    Raises:
        UserError: the runs cannot be compared, or the report cannot be written.
    """
    try:
        reference = read_reference(GATE, str(baseline), rev)
        comparison = compare(GATE, reference, [read_run(GATE, source) for source in runs])
    except UserError as error:
        _report_error(error, as_json)
        raise
    try:
        _report(comparison, as_json)
    except UserError as error:
        error.exit_code = int(comparison.failed) or error.exit_code  # a regression remains one, also if nobody reads it
        raise
    return comparison


def _report(comparison: Comparison, as_json: bool) -> None:
    power = power_of(GATE, comparison.reference, len(comparison.candidates))
    report = comparison_report(GATE, comparison, power, library_versions(GATE))
    _append_to_summary(report.markdown())
    stream = sys.stderr if as_json else sys.stdout
    text = report.text() if stream and stream.isatty() else report.markdown()
    if str(GATE.scores_file) in [run.source for run in comparison.candidates] and (note := committed_run_note()):
        text += f"\n\n{note}"
    _print(text, stream)
    if as_json:
        _print(json.dumps(comparison_json(comparison, power), indent=2, allow_nan=False), sys.stdout)


def _report_error(error: UserError, as_json: bool) -> None:
    verdict = "not comparable" if isinstance(error, NotComparable) else "error"
    _append_to_summary(f"### Gate: {verdict}\n\n{error}")
    if as_json:
        answer = {"exit_code": error.exit_code, "verdict": verdict, "reason": str(error)}
        _print(json.dumps(answer, indent=2), sys.stdout)


def _print(text: str, stream: TextIO | None) -> None:
    """Write now, and in any encoding: a name in Git can be any bytes.

    Raises:
        UserError: the disk is full, say.
    """
    if stream is None:  # closed
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write the report: {error.strerror}; free space, or write it elsewhere") from error


def _append_to_summary(text: str) -> None:
    """GitHub Actions shows what is appended to this file on the job's summary page."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as summary:
            summary.write(text + "\n\n")
    except OSError as error:  # the verdict counts, not this copy of it
        print_to_stderr(f"warning: cannot write the job summary {path} (GITHUB_STEP_SUMMARY): {error.strerror}")
