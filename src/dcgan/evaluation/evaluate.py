"""All scores of a set of generated digits: arrays in, one flat dict out, each score beside its value for real data."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcgan.evaluation.feature_extractor import FeatureExtractor, load_feature_extractor
from dcgan.evaluation.inception import INCEPTION_SCORES, inception_scores
from dcgan.evaluation.metrics.classifier_scores import (
    CAS_RECIPE,
    TWO_SAMPLE_RECIPE,
    classification_accuracy,
    two_sample_accuracy,
)
from dcgan.evaluation.metrics.fid_kid import KID_SUBSETS, fid, kid, kid_subset_size
from dcgan.evaluation.metrics.memorization import Nearest, memorization_scores, nearest_training
from dcgan.evaluation.metrics.prdc import (
    DENSITY_COVERAGE_NEIGHBOURS,
    PRECISION_RECALL_NEIGHBOURS,
    manifold,
    manifold_scores,
)
from dcgan.evaluation.threads import run_in_threads
from dcgan.support.errors import UserError

VERSION = 2  # of the protocol: raise it when a score of equal images may change
FULL_COUNT = 10_000  # what the ruler's record compares for real data
REAL_SEED = 0  # which training images stand for real data in the table


class Digits(NamedTuple):
    """Images with what they show, or were asked to show."""

    images: np.ndarray  # uint8 [N, 28, 28]
    labels: np.ndarray | None  # uint8 [N]; None: nobody asked for a digit (an unconditional model)

    def rows(self, chosen: slice | np.ndarray) -> "Digits":
        return Digits(self.images[chosen], None if self.labels is None else self.labels[chosen])


# The last bits of an eigenvalue depend on where its matrix lies in memory (seen: 4e-14 of a FID), and a forced run must
# write the same bytes.
DECIMALS = 8


@dataclass(frozen=True)
class Settings:
    """What shapes the scores, beside the images themselves."""

    seed: int  # KID's subsets, the judges' initialization and order
    count: int = FULL_COUNT  # generated images, and test images, that the feature scores compare
    inception_cache: Path | None = None  # where InceptionV3 and its features are kept; None: its scores are left out


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found."""

    scores: dict[str, float]  # with `<score>_real` beside each that has one
    protocol: dict
    nearest: Nearest  # of the first `count` generated images
    digits: np.ndarray  # int64 [count]: what the extractor sees in them


def evaluate(
    samples: Digits, train: Digits, test: Digits, extractor: FeatureExtractor, settings: Settings
) -> Evaluation:
    """Score generated digits against MNIST.

    The first `settings.count` samples are compared with as many test images; the next `count` teach the two-sample
    test; all of them teach the classifier of the classification accuracy score.

    Raises:
        UserError: too few samples, or not digits; or a score that is not finite.
    """
    check_samples(samples, settings.count)
    compared, test_part = samples.rows(slice(settings.count)), test.rows(slice(settings.count))
    scorer = FeatureScorer(test_part.images, extractor, settings.seed)
    scores, digits = scorer.score(compared)
    judges = _judges(samples, train, test, settings)
    neighbors = partial(nearest_training, compared.images, *train)
    *verdicts, nearest = run_in_threads([*judges.values(), neighbors])
    scores |= dict(zip(judges, verdicts, strict=True))
    scores |= memorization_scores(nearest, extractor.metadata["near_distances"])
    if settings.inception_cache:
        scores |= inception_scores(
            compared.images, test_part.images, cache=settings.inception_cache, seed=settings.seed
        )
    real_scores = extractor.metadata["real_scores"]
    if settings.count != FULL_COUNT:  # those of other counts do not compare
        rows = stand_in_rows(train.labels, test_part.labels)
        real_scores = real_scores | scorer.score(train.rows(rows))[0]
        real_scores = {name: value for name, value in real_scores.items() if name not in INCEPTION_SCORES}
    scores["relative_fid"] = scores["fid"] / real_scores["fid"]
    scores |= {f"{name}_real": value for name, value in real_scores.items() if name in scores}
    check_finite(scores)
    scores = {name: round(value, DECIMALS) for name, value in scores.items()}
    return Evaluation(scores, _protocol(samples, extractor, settings), nearest, digits)


class FeatureScorer:
    """The scores that need only the ruler's features: some seconds for 10,000 images."""

    def __init__(self, test_images: np.ndarray, extractor: FeatureExtractor, seed: int) -> None:
        self.extractor, self.seed = extractor, seed
        self.real = manifold(extractor.features(test_images))

    def score(self, digits: Digits) -> tuple[dict[str, float], np.ndarray]:
        """Scores of as many images as there are test images, and the digits that the extractor sees in them."""
        features, seen = self.extractor.look(digits.images)
        distance = kid(self.real.features, features, seed=self.seed, gamma=self.extractor.kid_gamma)
        scores = {"fid": fid(self.real.features, features), "kid": distance, "kid_x1000": 1000 * distance}
        scores |= manifold_scores(self.real, manifold(features))
        return scores | label_scores(seen.numpy(), digits.labels, self.extractor.metadata["class_shares"]), seen.numpy()


class QuickScores:
    """The feature scores alone, with `relative_fid`, for research on recipes: some seconds a call."""

    def __init__(self, test_images: np.ndarray, extractor: FeatureExtractor | None = None, seed: int = 2000) -> None:
        self.scorer = FeatureScorer(test_images, extractor or load_feature_extractor(), seed)

    def __call__(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, float]:
        """Scores of uint8 [10000, 28, 28] and, when the model is conditional, the digits asked for, [10000]."""
        scores, _ = self.scorer.score(Digits(images, labels))
        return scores | {"relative_fid": scores["fid"] / self.scorer.extractor.metadata["real_scores"]["fid"]}


def label_scores(seen: np.ndarray, asked: np.ndarray | None, shares: list[float]) -> dict[str, float]:
    """Agreement: share of images in which the extractor sees the digit asked for; absent when nobody asked.

    Class balance: 1 minus the total variation distance between the digits seen and those asked for, or `shares`, the
    training set's, when nobody asked. 1: as it should be; 0.9: one digit in ten is missing.
    """
    wanted = np.array(shares) if asked is None else np.bincount(asked, minlength=10) / len(asked)
    found = np.bincount(seen, minlength=10) / len(seen)
    scores = {"class_balance": 1 - float(np.abs(found - wanted).sum()) / 2}
    if asked is not None:
        scores["label_accuracy"] = float((seen == asked).mean())
    return scores


def stand_in_rows(train_labels: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """Rows of training images that stand for real data: the class counts of `test_labels`, the same ones each time."""
    counts = np.bincount(test_labels, minlength=10)
    rng = np.random.default_rng(REAL_SEED)
    rows = [rng.choice(np.flatnonzero(train_labels == digit), n, replace=False) for digit, n in enumerate(counts)]
    return rng.permutation(np.concatenate(rows))


def check_samples(samples: Digits, count: int) -> None:
    """Refuse what cannot be scored.

    Raises:
        UserError: says what is wrong with the samples.
    """
    images, labels = samples
    remedy = "make them anew with `dvc repro sample`"
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise UserError(f"the samples are {images.dtype} {list(images.shape)}, not uint8 [N, 28, 28]; {remedy}")
    if len(images) < 2 * count:
        raise UserError(
            f"{len(images)} samples are too few: evaluate.images ({count}) are scored, and as many others teach the "
            f"two-sample test; set sample.count to at least {2 * count}, or lower evaluate.images"
        )
    if labels is not None and labels.shape != (len(images),):
        raise UserError(f"there are {len(images)} samples and labels of shape {list(labels.shape)}; {remedy}")
    if labels is not None and labels.max() > 9:
        raise UserError(f"a label of the samples is {labels.max()}, digits are 0 to 9; {remedy}")
    if (images == images[0]).all():
        raise UserError(
            f"all {len(images)} samples are the same picture: the generator has collapsed, nothing to score; train anew"
        )


def check_finite(scores: dict[str, float]) -> None:
    """Raise UserError, naming the scores, if any is NaN or infinite."""
    bad = [f"{name} is {value}" for name, value in scores.items() if not math.isfinite(value)]
    if bad:
        raise UserError(f"{', '.join(bad)}: such scores are never written; look at samples/grid.png, then train anew")


def _judges(samples: Digits, train: Digits, test: Digits, settings: Settings) -> dict[str, Callable[[], float]]:
    """The scores that train a classifier, yet to be computed; those that need labels only where there are any."""
    count, seed = settings.count, settings.seed
    rows = np.random.default_rng(seed).choice(len(train.images), count, replace=False)
    two_sample = partial(
        two_sample_accuracy,
        train.images[rows],
        samples.images[count : 2 * count],
        test.images[:count],
        samples.images[:count],
        seed=seed,
    )
    if samples.labels is None:
        return {"two_sample_28": two_sample}
    cas = partial(classification_accuracy, *samples, *test, seed=seed)
    return {"cas": cas, "two_sample_28": two_sample}  # the longest first


def _protocol(samples: Digits, extractor: FeatureExtractor, settings: Settings) -> dict:
    """What two evaluations must have in common to be compared."""
    count = settings.count
    protocol = {
        "version": VERSION,
        "features_sha256": extractor.hash,
        "n_generated": count,
        "n_real": count,
        "n_samples": len(samples.images),
        "evaluate_seed": settings.seed,
        "kid": {"subsets": KID_SUBSETS, "subset_size": kid_subset_size(count), "gamma": extractor.kid_gamma},
        "precision_recall_neighbors": PRECISION_RECALL_NEIGHBOURS,
        "density_coverage_neighbors": DENSITY_COVERAGE_NEIGHBOURS,
        "near_distances": extractor.metadata["near_distances"],
        "two_sample_test": {"learns_from": [count, count], "held_out": [count, count], **asdict(TWO_SAMPLE_RECIPE)},
    }
    if samples.labels is not None:
        protocol["cas"] = {"learns_from": len(samples.images), **asdict(CAS_RECIPE)}
    return protocol
