"""`dcgan check`: is the model worse than the baseline, by more than noise over seeds?"""

import argparse
import json
import os
import sys

from dcgan.gate.compare import compare
from dcgan.gate.markdown import comparison_json, comparison_text
from dcgan.gate.power import power_of
from dcgan.gate.revisions import library_versions, read_reference, read_run
from dcgan.gate_settings import GATE
from dcgan.paths import user_path
from dcgan.support.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        type=_source,
        default=[str(GATE.scores_file)],
        metavar="RUN",
        help="the candidate's runs, one per seed: a scores file with its train.json beside it, a DVC experiment or "
        f"a Git revision (default: {GATE.scores_file})",
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
    parser.add_argument("--json", action="store_true", help="JSON to stdout, Markdown to stderr")


def _source(text: str) -> str:
    """A scores file is relative to the user's folder; anything else names an experiment or a revision."""
    return str(user_path(text)) if text.endswith(".json") or os.path.exists(text) else text


def run(args: argparse.Namespace) -> int:
    try:
        reference = read_reference(GATE, str(args.baseline), args.rev)
        comparison = compare(GATE, reference, [read_run(GATE, source) for source in args.runs])
    except UserError as error:
        _append_to_summary(f"### Gate: not comparable\n\n{error}")
        if args.json:
            print(
                json.dumps({"exit_code": error.exit_code, "verdict": "not comparable", "reason": str(error)}, indent=2)
            )
        raise
    power = power_of(GATE, reference, len(args.runs))
    text = comparison_text(GATE, comparison, power, library_versions(GATE))
    _append_to_summary(text)
    print(text, file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(comparison_json(comparison, power), indent=2, allow_nan=False))
    return int(comparison.failed)


def _append_to_summary(text: str) -> None:
    """GitHub Actions shows what is appended to this file on the job's summary page."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as summary:
            summary.write(text + "\n\n")
    except OSError as error:
        raise UserError(
            f"cannot write the job summary {path} (GITHUB_STEP_SUMMARY): {error.strerror}; unset it"
        ) from error
