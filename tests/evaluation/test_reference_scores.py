"""The stored scores of real data are those that this code measures."""

import numpy as np
import pytest

from dcgan.evaluation import evaluate, reference_scores
from dcgan.evaluation.evaluate import FULL_COUNT, class_matched_rows
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.metrics.two_sample import TESTS

FRACTIONS = ("precision", "recall", "density", "coverage", "label_accuracy", "class_balance", "box_20", "stray_parts")


@pytest.mark.faults
def test_the_stored_real_scores_are_those_of_this_code(mnist, monkeypatch):
    """All that needs no training; the classifiers' accuracies would take two minutes."""
    train, test = mnist
    stored = load_feature_extractor().metadata
    for name in ("classification_accuracy", "two_sample_accuracy"):
        monkeypatch.setattr(reference_scores, name, lambda *_, **__: 0.5)
    monkeypatch.setattr(evaluate, "kid", lambda *_, **__: stored["real_scores"]["kid"])
    found = reference_scores.with_real_scores(load_feature_extractor(), train, test, seed=2000).metadata
    assert found.keys() == stored.keys() and found["real_scores"].keys() == {*stored["real_scores"]}
    assert found["class_frequencies"] == stored["class_frequencies"]
    assert found["near_distances"] == pytest.approx(stored["near_distances"], rel=1e-6)
    assert found["closest_pairs"] == stored["closest_pairs"]
    assert found["real_scores"]["fid"] == pytest.approx(stored["real_scores"]["fid"], rel=1e-4)
    for key in FRACTIONS:  # a few of 10,000 differ on another processor
        assert found["real_scores"][key] == pytest.approx(stored["real_scores"][key], abs=5e-4), key


def test_training_images_in_place_of_generated_ones_have_the_class_counts_of_the_test_set(mnist):
    train, test = mnist
    rows = class_matched_rows(train.labels, test.labels)
    assert (np.bincount(train.labels[rows]) == np.bincount(test.labels)).all() and len(set(rows)) == FULL_COUNT


def test_no_classifier_is_tested_on_images_that_it_was_trained_on(mnist):
    train, test = mnist
    rows = class_matched_rows(train.labels, test.labels)
    tasks = reference_scores._tasks(train, test, rows)
    assert tasks["cas"].args == (train.images, train.labels, test.images, test.labels)
    assert tasks["nearest"].args == (test.images, train.images, train.labels)
    assert {key: tasks[key].args[1] for key in TESTS} == TESTS
    images = tasks["two_sample_28"].args[0]
    assert all(tasks[key].args[0] is images for key in TESTS)
    assert images.held_out_real is test.images and (images.held_out_generated == train.images[rows]).all()
    sets = [{image.tobytes() for image in part} for part in (images.real, images.generated, images.held_out_generated)]
    assert [len(part) for part in sets] == [FULL_COUNT] * 3
    assert len(set.union(*sets)) == 3 * FULL_COUNT
