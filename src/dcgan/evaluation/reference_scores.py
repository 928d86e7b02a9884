"""The scores of real data, measured once and kept in the ruler's record: what generated ones are set beside."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from dcgan.evaluation.evaluate import FULL_COUNT, REAL_SEED, Digits, FeatureScorer, stand_in_rows
from dcgan.evaluation.feature_extractor import FeatureExtractor
from dcgan.evaluation.inception import INCEPTION_SCORES, inception_scores
from dcgan.evaluation.metrics.classifier_scores import classification_accuracy, two_sample_accuracy
from dcgan.evaluation.metrics.memorization import memorization_scores, near_distances, nearest_training
from dcgan.evaluation.threads import run_in_threads

PAIRS = 2  # of a test and its training image, for each digit, that the picture shows


def measure_real(
    extractor: FeatureExtractor, train: Digits, test: Digits, seed: int, inception_cache: Path | None = None
) -> FeatureExtractor:
    """The extractor with the value of every score for real data in its record.

    10,000 training images with the test set's class counts stand in the place of the generated ones. Two-sample test:
    it learns from 20,000 other training images, half of them named generated. Classification accuracy score: learned
    from all 60,000 training images. Memorization: test images, as training images are their own nearest. Inception
    scores, which do not depend on the extractor: measured where a cache is given, else kept as they are. `seed` draws KID's
    subsets and is to be the evaluation's: drawn otherwise, KID x 1000 of real digits moves by one or two.
    """
    rows = stand_in_rows(train.labels, test.labels)
    others = np.random.default_rng(REAL_SEED).permutation(np.setdiff1d(np.arange(len(train.images)), rows))
    as_real, as_generated = (train.images[others[i * FULL_COUNT : (i + 1) * FULL_COUNT]] for i in range(2))
    stand_in = train.images[rows]
    two_sample = partial(two_sample_accuracy, as_real, as_generated, test.images, stand_in, seed=REAL_SEED)
    cas = partial(classification_accuracy, *train, *test, seed=REAL_SEED)
    neighbors = partial(nearest_training, test.images, *train)
    cas_verdict, two_sample_verdict, nearest = run_in_threads([cas, two_sample, neighbors])

    closest = nearest.closest(PAIRS).ravel()
    facts = {
        "class_shares": (np.bincount(train.labels, minlength=10) / len(train.labels)).tolist(),
        "near_distances": near_distances(nearest),
        "closest_pairs": {"test": closest.tolist(), "train": nearest.row[closest].tolist()},
    }
    extractor = replace(extractor, metadata={**extractor.metadata, **facts})
    scores, _ = FeatureScorer(test.images, extractor, seed).score(train.rows(rows))
    scores |= memorization_scores(nearest, facts["near_distances"])
    scores |= {"two_sample_28": two_sample_verdict, "cas": cas_verdict, "relative_fid": 1.0}
    if inception_cache:
        scores |= inception_scores(stand_in, test.images, cache=inception_cache, seed=seed)
    else:
        known = extractor.metadata.get("real_scores", {})
        scores |= {name: value for name, value in known.items() if name in INCEPTION_SCORES}
    return replace(extractor, metadata={**extractor.metadata, "real_scores": scores})
