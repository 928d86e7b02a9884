"""`dcgan report`: the scores of the last run beside those of real data. It ends `make repro`."""

import argparse

from dcgan.evaluation.report import text_table
from dcgan.paths import REPORT, SAMPLE_GRID, SCORES
from dcgan.support.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # none


def run(args: argparse.Namespace) -> None:
    del args
    print(text_table(read_json(SCORES)))
    print()
    for what, path in (("digits", SAMPLE_GRID), ("report", REPORT)):
        print(f"{what:<9}{path.resolve()}")
    print("compare  make ui")
