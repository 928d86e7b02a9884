"""`dcgan params`: check all of params.yaml."""

import argparse
from pathlib import Path

from dcgan.params import load_params
from dcgan.paths import user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=user_path, default=Path("params.yaml"), help="default: params.yaml")


def run(args: argparse.Namespace) -> None:
    load_params(args.file)
    print(f"{args.file}: OK")
