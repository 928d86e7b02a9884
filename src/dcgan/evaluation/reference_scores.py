"""The scores of real data, measured once and stored in the feature extractor's metadata."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from dcgan.constants import CLASSES
from dcgan.evaluation.evaluate import FULL_COUNT, REAL_SEED, TASK_SECONDS, Digits, FeatureScorer, class_matched_rows
from dcgan.evaluation.feature_extractor import FeatureExtractor
from dcgan.evaluation.inception import INCEPTION_SCORES, inception_scores
from dcgan.evaluation.metrics.classifier_scores import classification_accuracy
from dcgan.evaluation.metrics.memorization import memorization_scores, near_distances, nearest_training
from dcgan.evaluation.metrics.two_sample import TESTS, Images, two_sample_accuracy
from dcgan.evaluation.threads import run_with_progress

PAIRS = 2  # of a test image and its nearest training image, for each class, in the report's picture


def with_real_scores(
    extractor: FeatureExtractor, train: Digits, test: Digits, seed: int, inception_cache: Path | None = None
) -> FeatureExtractor:
    """The extractor with every score of real data in its metadata.

    10,000 training images with the test set's class counts take the place of the generated ones. Exceptions:

    - Two-sample tests: trained on 20,000 other training images, half of them labeled as generated.
    - Classification accuracy score: trained on all 60,000 training images.
    - Memorization: measured on the test images, since every training image is its own nearest one.

    Args:
        seed: for drawing KID's subsets; use the evaluation's, as another one moves KID x 1000 of real digits by one or
            two.
        inception_cache: folder for the Inception scores; None keeps the stored ones, which do not depend on the
            extractor.
    """
    rows = class_matched_rows(train.labels, test.labels)
    tasks = _tasks(train, test, rows)
    found = run_with_progress("real scores", tasks, TASK_SECONDS)
    nearest = found.pop("nearest")
    closest = nearest.closest(PAIRS).ravel()
    extractor = extractor.with_metadata(
        class_frequencies=(np.bincount(train.labels, minlength=CLASSES) / len(train.labels)).tolist(),
        near_distances=near_distances(nearest),
        closest_pairs={"test": closest.tolist(), "train": nearest.row[closest].tolist()},
    )
    scores, _ = FeatureScorer(test.images, extractor, seed).score(train.rows(rows))
    scores |= memorization_scores(nearest, extractor.metadata["near_distances"])
    scores |= found | {"relative_fid": 1.0}
    if inception_cache:
        scores |= inception_scores(train.images[rows], test.images, cache=inception_cache, seed=seed)
    else:
        stored = extractor.metadata.get("real_scores", {})
        scores |= {key: value for key, value in stored.items() if key in INCEPTION_SCORES}
    return extractor.with_metadata(real_scores=scores)


def _tasks(train: Digits, test: Digits, rows: np.ndarray) -> dict[str, Callable]:
    """Classification accuracy score, two-sample tests, and "nearest", the training image nearest to each test image."""
    others = np.random.default_rng(REAL_SEED).permutation(np.setdiff1d(np.arange(len(train.images)), rows))
    as_real, as_generated = (train.images[others[i * FULL_COUNT : (i + 1) * FULL_COUNT]] for i in range(2))
    images = Images(as_real, as_generated, test.images, train.images[rows])
    return {
        "cas": partial(classification_accuracy, *train, *test, seed=REAL_SEED),
        **{key: partial(two_sample_accuracy, images, kind, seed=REAL_SEED) for key, kind in TESTS.items()},
        "nearest": partial(nearest_training, test.images, *train),
    }
