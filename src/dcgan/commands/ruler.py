"""`dcgan ruler`: makes the digit feature network. Done once; scores of two rulers do not compare."""

import argparse
from pathlib import Path

import torch

from dcgan.errors import UserError
from dcgan.evaluation import Digits
from dcgan.features import RECORD, THREADS, WEIGHTS, load_ruler, make_ruler, save_ruler
from dcgan.files import write_json
from dcgan.mnist import load_split
from dcgan.params import load_params
from dcgan.real_scores import measure_real
from dcgan.store import root_folder

DATA = Path("data/raw")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replace", action="store_true", help="train anew although models/ has a ruler")
    parser.add_argument(
        "--real-scores", action="store_true", help="measure the scores of real data again, keep weights"
    )
    parser.add_argument(
        "--inception", action="store_true", help="measure Inception FID and KID of real data too: 25 minutes"
    )


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(THREADS)
    train, test = (Digits(*load_split(DATA, split)) for split in ("train", "test"))
    if args.real_scores:
        ruler = load_ruler()
    elif WEIGHTS.exists() and not args.replace:
        raise UserError(
            f"{WEIGHTS} exists, and a new one would make all earlier scores incomparable; "
            "to do it nevertheless say --replace, to measure real data with it again say --real-scores"
        )
    else:
        ruler = save_ruler(make_ruler(*train), train, test)
    cache = root_folder() / ".dcgan" / "cache" if args.inception else None
    write_json(RECORD, measure_real(ruler, train, test, load_params().evaluate.seed, cache).record)
    print(f"{WEIGHTS} reads {ruler.record['test_accuracy']:.2%} of the test set; {RECORD} has its scores of real data")
