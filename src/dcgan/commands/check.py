"""`dcgan check`: is the model worse than the baseline, by more than noise?"""

import argparse
import json
import os
import sys

from dcgan.gate.compare import compare
from dcgan.gate.markdown import comparison_json, comparison_text
from dcgan.gate.power import power_of
from dcgan.gate.revisions import BASELINE, EVALUATE, library_versions, read_reference, read_run
from dcgan.support.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        default=[EVALUATE],
        metavar="RUN",
        help=f"the candidate's runs, one a seed: an evaluate.json with its train.json beside it, a DVC experiment or "
        f"a Git revision (default: {EVALUATE})",
    )
    parser.add_argument("--baseline", default=BASELINE, metavar="FILE", help=f"default: {BASELINE}")
    parser.add_argument(
        "--rev",
        metavar="REV",
        help="take the baseline from this Git revision; one without a baseline is represented by its own "
        f"{EVALUATE}, with the spread over seeds from the baseline here",
    )
    parser.add_argument("--json", action="store_true", help="JSON to stdout, words to stderr")


def run(args: argparse.Namespace) -> int:
    try:
        comparison = compare(read_reference(args.baseline, args.rev), [read_run(source) for source in args.runs])
    except UserError as error:
        _append_to_summary(f"### Gate: not comparable\n\n{error}")
        if args.json:
            print(
                json.dumps({"exit_code": error.exit_code, "verdict": "not comparable", "reason": str(error)}, indent=2)
            )
        raise
    power = power_of(comparison.reference, len(comparison.candidates))
    text = comparison_text(comparison, power, library_versions())
    _append_to_summary(text)
    print(text, file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(comparison_json(comparison, power), indent=2, allow_nan=False))
    return int(comparison.failed)


def _append_to_summary(text: str) -> None:
    """GitHub Actions shows what is appended to this file on the page of the job."""
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
