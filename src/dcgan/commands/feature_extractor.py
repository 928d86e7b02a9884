"""`dcgan feature-extractor`: train the digit feature network, or measure the scores of real data with it again."""

import argparse

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
    if FEATURE_WEIGHTS.exists() and not (args.replace or args.real_scores):
        raise UserError(
            f"{FEATURE_WEIGHTS} exists, and scores measured with a new one would be incomparable with all earlier "
            "ones; to replace it nevertheless add --replace, to measure real data with it again add --real-scores"
        )
    _measure(load_params().evaluate.seed, keep_weights=args.real_scores, inception=args.inception)


def _measure(seed: int, keep_weights: bool, inception: bool) -> None:
    import torch

    from dcgan.data.mnist import load_split
    from dcgan.evaluation.evaluate import Digits
    from dcgan.evaluation.feature_extractor import (
        THREADS,
        load_feature_extractor,
        save_feature_extractor,
        train_feature_extractor,
    )
    from dcgan.evaluation.reference_scores import with_real_scores

    torch.set_num_threads(THREADS)
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    if keep_weights:
        extractor = load_feature_extractor()
    else:
        extractor = save_feature_extractor(train_feature_extractor(*train), train, test)
    extractor = with_real_scores(extractor, train, test, seed, download_cache(root_folder()) if inception else None)
    write_json(FEATURE_METADATA, extractor.metadata)
    print(
        f"{FEATURE_WEIGHTS} classifies {extractor.metadata['test_accuracy']:.2%} of the test set correctly; "
        f"the scores of real data are in {FEATURE_METADATA}"
    )
