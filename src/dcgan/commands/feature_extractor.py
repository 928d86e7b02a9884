"""`dcgan feature-extractor`: makes the digit feature network. Done once; scores of two rulers do not compare."""

import argparse

import torch

from dcgan.data.mnist import load_split
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.feature_extractor import (
    THREADS,
    load_feature_extractor,
    make_feature_extractor,
    save_feature_extractor,
)
from dcgan.evaluation.reference_scores import measure_real
from dcgan.params import load_params
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS, RAW_DATA, download_cache, root_folder
from dcgan.support.errors import UserError
from dcgan.support.files import write_json


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
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    if args.real_scores:
        extractor = load_feature_extractor()
    elif FEATURE_WEIGHTS.exists() and not args.replace:
        raise UserError(
            f"{FEATURE_WEIGHTS} exists, and a new one would make all earlier scores incomparable; "
            "to do it nevertheless say --replace, to measure real data with it again say --real-scores"
        )
    else:
        extractor = save_feature_extractor(make_feature_extractor(*train), train, test)
    cache = download_cache(root_folder()) if args.inception else None
    write_json(FEATURE_METADATA, measure_real(extractor, train, test, load_params().evaluate.seed, cache).record)
    print(
        f"{FEATURE_WEIGHTS} reads {extractor.metadata['test_accuracy']:.2%} of the test set; {FEATURE_METADATA} has its scores of real data"
    )
