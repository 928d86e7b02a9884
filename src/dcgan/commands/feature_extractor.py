"""`dcgan feature-extractor`: train the digit feature network, or measure the scores of real data with it again."""

import argparse

import torch

from dcgan.data.mnist import load_split
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.feature_extractor import (
    THREADS,
    FeatureExtractor,
    load_feature_extractor,
    save_feature_extractor,
    train_feature_extractor,
)
from dcgan.evaluation.reference_scores import with_real_scores
from dcgan.params import load_params
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS, RAW_DATA, download_cache, root_folder
from dcgan.support.errors import UserError
from dcgan.support.files import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replace", action="store_true", help="train a new one, although models/ has one")
    parser.add_argument(
        "--real-scores", action="store_true", help="keep the weights, measure the scores of real data again"
    )
    parser.add_argument(
        "--inception", action="store_true", help="measure Inception FID and KID of real data too: 25 minutes"
    )


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(THREADS)
    if FEATURE_WEIGHTS.exists() and not (args.replace or args.real_scores):
        raise UserError(
            f"{FEATURE_WEIGHTS} exists, and scores measured with a new one would be incomparable with all earlier "
            "ones; to replace it nevertheless add --replace, to measure real data with it again add --real-scores"
        )
    seed = load_params().evaluate.seed
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    extractor = load_feature_extractor() if args.real_scores else _new_feature_extractor(train, test)
    cache = download_cache(root_folder()) if args.inception else None
    extractor = with_real_scores(extractor, train, test, seed, cache)
    write_json(FEATURE_METADATA, extractor.metadata)
    print(
        f"{FEATURE_WEIGHTS} classifies {extractor.metadata['test_accuracy']:.2%} of the test set correctly; "
        f"the scores of real data are in {FEATURE_METADATA}"
    )


def _new_feature_extractor(train: Digits, test: Digits) -> FeatureExtractor:
    return save_feature_extractor(train_feature_extractor(*train), train, test)
