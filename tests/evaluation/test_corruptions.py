"""Corruptions raise the alarms that they must; the whole table, with 10,000 images, is in docs/scores.md."""

import numpy as np
import pytest

from dcgan.evaluation.corruptions import ALARMS, CORRUPTIONS, raised_alarms
from dcgan.evaluation.evaluate import Digits, FeatureScorer, class_matched_rows
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.metrics.memorization import memorization_scores, nearest_training
from dcgan.evaluation.metrics.two_sample import TESTS

COUNT = 1000
BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
WITHOUT_TRAINING = {*ALARMS} - {*TESTS, "cas", "copied"}


@pytest.fixture(scope="module")
def score(mnist, real):
    """Scores without training of 1,000 digits against 1,000 test images, each with its value for real images."""
    scorer = FeatureScorer(mnist[1].images[:COUNT], load_feature_extractor(), seed=1)
    of_real, _ = scorer.score(real)

    def scores(digits: Digits) -> dict[str, float]:
        found, _ = scorer.score(digits)
        ratios = {"relative_fid": found["fid"] / of_real["fid"], "relative_fid_real": 1.0}
        return found | {f"{key}_real": value for key, value in of_real.items() if key in found} | ratios

    return scores


def corrupted(name: str, digits: Digits) -> Digits:
    return BY_NAME[name].apply(digits, np.random.default_rng(7))


@pytest.mark.parametrize("name", [c.name for c in CORRUPTIONS if WITHOUT_TRAINING & {*c.exposed_by}])
def test_scores_without_training_expose(name, real, score):
    assert WITHOUT_TRAINING & {*BY_NAME[name].exposed_by} <= {*raised_alarms(score(corrupted(name, real)))}


def test_real_images_raise_no_alarm(score, mnist):
    """1,000 other training images with the same class counts."""
    train, test = mnist
    rest = train.rows(np.random.default_rng(2).permutation(60_000)[:20_000])
    other = score(rest.rows(class_matched_rows(rest.labels, test.labels[:COUNT])))
    assert other.keys() >= WITHOUT_TRAINING and not raised_alarms(other)


def test_every_score_with_an_alarm_exposes_a_corruption_and_every_corruption_is_exposed():
    assert {key for corruption in CORRUPTIONS for key in corruption.exposed_by} == {*ALARMS}
    assert all(corruption.exposed_by for corruption in CORRUPTIONS)


def test_copies_are_exposed(mnist):
    train, test = mnist
    near = load_feature_extractor().metadata["near_distances"]
    copies = nearest_training(corrupted("copies of the training set", train).images[:200], *train)
    assert memorization_scores(copies, near) == {"nearest_training": 0.0, "copied": 1.0}
    unseen = nearest_training(test.images[:1000], *train)
    assert 0.001 < memorization_scores(unseen, near)["copied"] < 0.025  # 1 % by definition; 10 +- 3 of 1,000
