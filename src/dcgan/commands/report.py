"""`dcgan report`: the scores of the last run beside those of real data. `make repro` ends with it."""

import argparse

from dcgan.evaluation.report import read_scores, text_table
from dcgan.paths import REPORT, SAMPLE_GRID, SCORES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # none


def run(args: argparse.Namespace) -> None:
    del args
    print(text_table(read_scores(SCORES)))
    print()
    for what, path in (("digits", SAMPLE_GRID), ("report", REPORT)):
        print(f"{what:<9}{path.resolve()}")
    print("compare  make ui")
