"""Nearest training images, and what counts as a copy, against brute force and known cases."""

import numpy as np
import pytest

from dcgan.evaluation.metrics.memorization import Nearest, memorization_scores, near_distances, nearest_training

RNG = np.random.default_rng(0)
TRAINING = RNG.integers(0, 256, (700, 28, 28), dtype=np.uint8)
LABELS = (np.arange(700) % 10).astype(np.uint8)
IMAGES = RNG.integers(0, 256, (300, 28, 28), dtype=np.uint8)


def find(images: np.ndarray) -> Nearest:
    return nearest_training(images, TRAINING, LABELS)


def test_a_copy_is_found_at_distance_zero():
    found = find(TRAINING[[5, 600, 3]])
    assert found.row.tolist() == [5, 600, 3] and found.distance.tolist() == [0, 0, 0]
    assert found.label.tolist() == [5, 0, 3]


def test_the_nearest_is_the_same_as_by_brute_force():
    found = find(IMAGES)
    images, training = (part.reshape(len(part), -1).astype(np.float64) / 255 for part in (IMAGES, TRAINING))
    expected = np.stack([np.sqrt(((image - training) ** 2).sum(1)) for image in images])
    assert (found.row == expected.argmin(1)).all()
    assert found.distance == pytest.approx(expected.min(1), rel=1e-6)


def test_distance_is_euclidean_over_pixels_of_0_to_1():
    """Four pixels changed from black to white: the square root of 4."""
    changed = np.zeros((1, 28, 28), dtype=np.uint8)
    changed[0, 3, :4] = 255
    found = nearest_training(changed, np.zeros((6, 28, 28), dtype=np.uint8), np.zeros(6, dtype=np.uint8))
    assert found.distance == pytest.approx([2.0], rel=1e-7)


def test_the_closest_percent_of_each_class_counts_as_near():
    """1,000 test images a class at distances 0, 1, ... 999 and, a class later, 1,000 more: ten of each are nearer."""
    labels = np.repeat(np.arange(10, dtype=np.uint8), 1000)
    shuffled = RNG.permutation(10_000)
    test = Nearest(np.arange(10_000.0)[shuffled], np.zeros(10_000, dtype=int), labels[shuffled])
    near = near_distances(test)
    assert near == pytest.approx([1000 * label + 9.99 for label in range(10)])
    assert memorization_scores(test, near) == {"nearest_training": 4999.5, "copied": 0.01}


def test_an_image_at_the_threshold_is_no_copy_and_the_threshold_is_that_of_its_class():
    near = [float(label) for label in range(10)]
    images = Nearest(np.array([3.0, 2.9, 2.9, 5.0]), np.zeros(4, dtype=int), np.array([3, 3, 2, 9], dtype=np.uint8))
    assert memorization_scores(images, near) == {"nearest_training": 2.95, "copied": 0.5}


def test_one_percent_of_test_images_count_as_near_in_each_class():
    """Each class's quantile lies between its nearest image and the next: one image of each is closer."""
    test = find(IMAGES)
    near = near_distances(test)
    assert memorization_scores(test, near)["copied"] == pytest.approx(10 / 300)
    assert len({*near}) == 10
    assert memorization_scores(find(TRAINING[:50]), near) == {"nearest_training": 0.0, "copied": 1.0}


def test_the_closest_of_each_class_come_first():
    found = find(np.concatenate([IMAGES[:99], TRAINING[7:8]]))
    closest = found.closest(40)
    assert closest[7, 0] == 99
    for label, rows in enumerate(closest):
        kept = rows[rows >= 0]
        assert set(kept) == set(np.flatnonzero(found.label == label))
        assert (np.diff(found.distance[kept]) >= 0).all()
