"""`dcgan report`: the scores of the last run beside those of real data. It ends `make repro`."""

import argparse
from pathlib import Path

from dcgan.files import read_json
from dcgan.report import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # none


def run(args: argparse.Namespace) -> None:
    del args
    print(text_table(read_json("metrics/evaluate.json")))
    print()
    for what, path in (("digits", "samples/grid.png"), ("report", "metrics/report.html")):
        print(f"{what:<9}{Path(path).resolve()}")
    print("compare  make ui")
