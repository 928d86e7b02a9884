"""The stored scores of real data are those that this code measures."""

import numpy as np
import pytest

from dcgan.evaluation import evaluate, reference_scores
from dcgan.evaluation.evaluate import FULL_COUNT, class_matched_rows
from dcgan.evaluation.feature_extractor import load_feature_extractor

FROM_FEATURES = ("precision", "recall", "density", "coverage", "label_accuracy", "class_balance")


@pytest.mark.faults
def test_the_stored_real_scores_are_those_of_this_code(mnist, monkeypatch):
    """All but KID, which depends on the subsets drawn, and the classifiers' accuracies, which need a training."""
    train, test = mnist
    stored = load_feature_extractor().metadata
    monkeypatch.setattr(reference_scores, "classification_accuracy", lambda *_, **__: stored["real_scores"]["cas"])
    monkeypatch.setattr(
        reference_scores, "two_sample_accuracy", lambda *_, **__: stored["real_scores"]["two_sample_28"]
    )
    monkeypatch.setattr(evaluate, "kid", lambda *_, **__: stored["real_scores"]["kid"])
    found = reference_scores.with_real_scores(load_feature_extractor(), train, test, seed=2000).metadata
    assert found.keys() == stored.keys() and found["real_scores"].keys() == {*stored["real_scores"]}
    assert found["class_frequencies"] == stored["class_frequencies"]
    assert found["near_distances"] == pytest.approx(stored["near_distances"], rel=1e-6)
    assert found["closest_pairs"] == stored["closest_pairs"]
    assert found["real_scores"]["fid"] == pytest.approx(stored["real_scores"]["fid"], rel=1e-4)
    for key in FROM_FEATURES:  # a few of 10,000 differ on another processor
        assert found["real_scores"][key] == pytest.approx(stored["real_scores"][key], abs=5e-4), key


def test_training_images_in_place_of_generated_ones_have_the_class_counts_of_the_test_set(mnist):
    train, test = mnist
    rows = class_matched_rows(train.labels, test.labels)
    assert (np.bincount(train.labels[rows]) == np.bincount(test.labels)).all() and len(set(rows)) == FULL_COUNT


def test_no_classifier_is_tested_on_images_that_it_was_trained_on(mnist):
    train, test = mnist
    rows = class_matched_rows(train.labels, test.labels)
    cas, two_sample, nearest = reference_scores._tasks(train, test, rows)
    assert cas.args == (train.images, train.labels, test.images, test.labels)
    assert nearest.args == (test.images, train.images, train.labels)
    as_real, as_generated, held_out_real, held_out = two_sample.args
    assert held_out_real is test.images and (held_out == train.images[rows]).all()
    sets = [{image.tobytes() for image in images} for images in (as_real, as_generated, held_out)]
    assert [len(images) for images in sets] == [FULL_COUNT] * 3
    assert len(set.union(*sets)) == 3 * FULL_COUNT
