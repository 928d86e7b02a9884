"""`dcgan params`: check all of params.yaml."""

import argparse

from dcgan.params import load_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", default="params.yaml", help="default: params.yaml")


def run(args: argparse.Namespace) -> None:
    load_params(args.file)
    print(f"{args.file}: OK")
