"""All scores of a set of generated digits: arrays in, one flat dict out, each score beside its value for real data."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcgan.constants import CLASSES
from dcgan.evaluation.feature_extractor import FeatureExtractor, load_feature_extractor
from dcgan.evaluation.inception import INCEPTION_SCORES, inception_scores
from dcgan.evaluation.metrics.classifier_scores import CAS_RECIPE, classification_accuracy
from dcgan.evaluation.metrics.fid_kid import KID_SUBSETS, fid, kid, kid_subset_size
from dcgan.evaluation.metrics.form import form_scores
from dcgan.evaluation.metrics.memorization import Nearest, memorization_scores, nearest_training
from dcgan.evaluation.metrics.prdc import (
    DENSITY_COVERAGE_NEIGHBORS,
    PRECISION_RECALL_NEIGHBORS,
    manifold,
    manifold_scores,
)
from dcgan.evaluation.metrics.two_sample import TESTS, Images, two_sample_accuracy, two_sample_protocol
from dcgan.evaluation.threads import run_with_progress
from dcgan.scores import PROTOCOL_VERSION
from dcgan.support.errors import UserError

FULL_COUNT = 10_000  # images that the stored scores of real data were measured with
# On one core, with the default's numbers of images: for the progress line.
TASK_SECONDS = {"cas": 45, "two_sample_28": 20, "two_sample_eye": 18, "two_sample_plain": 18, "two_sample_14": 6}
TASK_SECONDS |= {"features": 12, "nearest": 10}
REAL_SEED = 0  # seed for choosing the stand-in training images

# The last bits of an eigenvalue depend on the matrix's memory alignment (seen: 4e-14 of a FID), and running a stage
# again must write the same bytes.
DECIMALS = 8


class Digits(NamedTuple):
    """Images with the labels that they have or were requested with."""

    images: np.ndarray  # uint8 [N, 28, 28]
    labels: np.ndarray | None  # uint8 [N]; None: no labels were requested (an unconditional model)

    def rows(self, chosen: slice | np.ndarray) -> "Digits":
        return Digits(self.images[chosen], None if self.labels is None else self.labels[chosen])


@dataclass(frozen=True)
class Settings:
    """What the scores depend on besides the images."""

    seed: int  # for drawing KID's subsets and for training the classifiers
    count: int = FULL_COUNT  # generated images, and test images, that are compared
    inception_cache: Path | None = None  # folder of InceptionV3 and its features; None: no Inception scores


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns."""

    scores: dict[str, float]  # with `<score>_real` for each
    protocol: dict[str, Any]
    nearest: Nearest  # of the first `count` generated images
    predicted: np.ndarray  # int64 [count]: their labels as the feature extractor classifies them


def evaluate(
    samples: Digits, train: Digits, test: Digits, extractor: FeatureExtractor, settings: Settings
) -> Evaluation:
    """Score generated digits against MNIST.

    The first `settings.count` samples are compared with as many test images; the next `count` train the two-sample
    test; all of them train the classifier of the classification accuracy score.

    Raises:
        UserError: too few samples, or not digits; or a score that is not finite.
    """
    check_samples(samples, settings.count)
    compared, test_digits = samples.rows(slice(settings.count)), test.rows(slice(settings.count))

    def score_features() -> tuple[dict[str, float], np.ndarray, dict[str, float]]:
        scorer = FeatureScorer(test_digits.images, extractor, settings.seed)
        real_scores = _real_scores(scorer, train, test_digits.labels, settings.count)
        return *scorer.score(compared), real_scores

    tasks = classifier_score_tasks(samples, train, test, settings)
    tasks |= {"features": score_features, "nearest": partial(nearest_training, compared.images, *train)}
    results = run_with_progress("evaluate", tasks, TASK_SECONDS)
    (scores, predicted, real_scores), nearest = results.pop("features"), results.pop("nearest")
    scores |= results
    scores |= memorization_scores(nearest, extractor.metadata["near_distances"])
    if settings.inception_cache:
        scores |= inception_scores(
            compared.images, test_digits.images, cache=settings.inception_cache, seed=settings.seed
        )
    scores["relative_fid"] = scores["fid"] / real_scores["fid"]
    scores |= {f"{key}_real": value for key, value in real_scores.items() if key in scores}
    check_finite(scores)
    scores = {key: round(value, DECIMALS) for key, value in scores.items()}
    return Evaluation(scores, _protocol(samples, extractor, settings), nearest, predicted)


class FeatureScorer:
    """The scores that train no classifier: a few seconds for 10,000 images."""

    def __init__(self, test_images: np.ndarray, extractor: FeatureExtractor, seed: int) -> None:
        self.extractor, self.seed, self.test_images = extractor, seed, test_images
        self.real = manifold(extractor.features(test_images))

    def score(self, digits: Digits) -> tuple[dict[str, float], np.ndarray]:
        """Scores of as many images as there are test images, and the labels that the extractor predicts for them."""
        features, labels = self.extractor.features_and_labels(digits.images)
        predicted = labels.numpy()
        distance = kid(self.real.features, features, seed=self.seed, gamma=self.extractor.kid_gamma)
        scores = {"fid": fid(self.real.features, features), "kid": distance, "kid_x1000": 1000 * distance}
        scores |= manifold_scores(self.real, manifold(features))
        scores |= label_scores(predicted, digits.labels, self.extractor.metadata["class_frequencies"])
        scores |= form_scores(digits.images, self.test_images)
        return scores, predicted


class QuickScores:
    """The scores that train no classifier, and `relative_fid`, to compare models while experimenting."""

    def __init__(self, test_images: np.ndarray, extractor: FeatureExtractor | None = None, seed: int = 2000) -> None:
        self.scorer = FeatureScorer(test_images, extractor or load_feature_extractor(), seed)

    def __call__(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, float]:
        """Scores of uint8 [10000, 28, 28] and, for a conditional model, the requested labels, [10000]."""
        scores, _ = self.scorer.score(Digits(images, labels))
        return scores | {"relative_fid": scores["fid"] / self.scorer.extractor.metadata["real_scores"]["fid"]}


def label_scores(
    predicted: np.ndarray, requested: np.ndarray | None, class_frequencies: list[float]
) -> dict[str, float]:
    """Label accuracy and class balance.

    Label accuracy: fraction of images that the extractor assigns to the requested label; left out if none was
    requested. Class balance: 1 minus the total variation distance between the frequencies of the predicted labels and
    of the requested ones, or `class_frequencies`, the training set's. 0.9: one digit in ten is of the wrong class.

    Args:
        predicted, requested: integers [N], 0..9.
        class_frequencies: frequency of each of the ten labels; they sum to 1.
    """
    wanted = np.array(class_frequencies) if requested is None else _frequencies(requested)
    scores = {"class_balance": 1 - float(np.abs(_frequencies(predicted) - wanted).sum()) / 2}
    if requested is not None:
        scores["label_accuracy"] = float((predicted == requested).mean())
    return scores


def _frequencies(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=CLASSES) / len(labels)


def class_matched_rows(train_labels: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """Rows of a random choice of training images with the class counts of `test_labels`, the same in every call."""
    counts = np.bincount(test_labels, minlength=CLASSES)
    rng = np.random.default_rng(REAL_SEED)
    rows = [rng.choice(np.flatnonzero(train_labels == label), n, replace=False) for label, n in enumerate(counts)]
    return rng.permutation(np.concatenate(rows))


def check_samples(samples: Digits, count: int) -> None:
    """Refuse samples that cannot be scored.

    Raises:
        UserError: says what is wrong with the samples.
    """
    images, labels = samples
    remedy = "generate them again with `dvc repro sample`"
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise UserError(f"the samples are {images.dtype} {list(images.shape)}, not uint8 [N, 28, 28]; {remedy}")
    if len(images) < 2 * count:
        raise UserError(
            f"{len(images)} samples are too few: evaluate.images ({count}) are scored, and the two-sample test is "
            f"trained on as many others; set sample.count to at least {2 * count}, or lower evaluate.images"
        )
    if labels is not None and labels.shape != (len(images),):
        raise UserError(f"there are {len(images)} samples, but labels of shape {list(labels.shape)}; {remedy}")
    if labels is not None and labels.max() >= CLASSES:
        raise UserError(f"a label of the samples is {labels.max()}, but digits are 0 to 9; {remedy}")
    if (images == images[0]).all():
        raise UserError(
            f"all {len(images)} samples are the same picture: the generator has collapsed; train another one"
        )


def check_finite(scores: dict[str, float]) -> None:
    """Raise UserError, naming the scores, if any is NaN or infinite."""
    bad = [f"{key} is {value}" for key, value in scores.items() if not math.isfinite(value)]
    if bad:
        raise UserError(f"{', '.join(bad)}: nothing was written; look at samples/grid.png, then train another model")


def classifier_score_tasks(
    samples: Digits, train: Digits, test: Digits, settings: Settings
) -> dict[str, Callable[[], float]]:
    """Key -> task for each score that trains classifiers, the longest first; CAS only if there are labels."""
    count, seed = settings.count, settings.seed
    rows = np.random.default_rng(seed).choice(len(train.images), count, replace=False)
    images = Images(train.images[rows], samples.images[count : 2 * count], test.images[:count], samples.images[:count])
    tasks = {} if samples.labels is None else {"cas": partial(classification_accuracy, *samples, *test, seed=seed)}
    return tasks | {key: partial(two_sample_accuracy, images, kind, seed=seed) for key, kind in TESTS.items()}


def _real_scores(scorer: FeatureScorer, train: Digits, test_labels: np.ndarray, count: int) -> dict[str, float]:
    """The stored scores of real data; of another number of images, those that train no classifier measured anew."""
    stored = scorer.extractor.metadata["real_scores"]
    if count == FULL_COUNT:
        return stored
    rows = class_matched_rows(train.labels, test_labels)
    scores = stored | scorer.score(train.rows(rows))[0]
    return {key: value for key, value in scores.items() if key not in INCEPTION_SCORES}


def _protocol(samples: Digits, extractor: FeatureExtractor, settings: Settings) -> dict[str, Any]:
    """What must be equal for two evaluations to be comparable."""
    count = settings.count
    protocol = {
        "version": PROTOCOL_VERSION,
        "features_sha256": extractor.sha256,
        "n_generated": count,
        "n_real": count,
        "n_samples": len(samples.images),
        "evaluate_seed": settings.seed,
        "kid": {"subsets": KID_SUBSETS, "subset_size": kid_subset_size(count), "gamma": extractor.kid_gamma},
        "precision_recall_neighbors": PRECISION_RECALL_NEIGHBORS,
        "density_coverage_neighbors": DENSITY_COVERAGE_NEIGHBORS,
        "near_distances": extractor.metadata["near_distances"],
        "two_sample": {"learns_from": [count, count], "held_out": [count, count]} | two_sample_protocol(),
    }
    if samples.labels is not None:
        protocol["cas"] = {"learns_from": len(samples.images), **asdict(CAS_RECIPE)}
    return protocol
