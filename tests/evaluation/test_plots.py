"""Which images the pictures of an evaluation show, and where."""

import numpy as np

from dcgan.evaluation.metrics.memorization import Nearest
from dcgan.evaluation.plots import PER_CLASS, closest_pairs, real_beside_generated
from dcgan.images import GAP

LABELS = np.repeat(np.arange(10), PER_CLASS)


def flat(values: np.ndarray) -> np.ndarray:
    """uint8 images of one brightness each."""
    return np.broadcast_to(np.asarray(values, dtype=np.uint8)[:, None, None], (len(values), 28, 28))


def tile(picture: np.ndarray, row: int, column: int) -> set[int]:
    """The brightness values of one digit in a grid with a pixel between digits."""
    return {*picture[29 * row : 29 * row + 28, 29 * column : 29 * column + 28].ravel().tolist()}


def test_real_digits_are_left_and_generated_ones_right_one_row_per_class():
    picture = real_beside_generated(flat(LABELS + 1), LABELS, flat(LABELS[::-1] + 101), LABELS[::-1])
    right = picture[:, 29 * PER_CLASS - 1 + GAP :]
    for label in range(10):
        assert all(tile(picture, label, column) == {label + 1} for column in range(PER_CLASS))
        assert all(tile(right, label, column) == {label + 101} for column in range(PER_CLASS))


def test_the_closest_generated_image_comes_first_and_its_training_image_follows():
    """Two generated images are closest to a training image of class 3, none to any other class."""
    nearest = Nearest(np.array([0.5, 0.2]), np.array([7, 8]), np.array([3, 3]))
    training, test = flat(np.arange(100, 120)), flat(np.arange(200, 220))
    pairs = {"test": list(range(20)), "train": list(range(20))}
    picture = closest_pairs(flat([50, 51]), nearest, training, test, pairs)
    assert [tile(picture, 3, column) for column in range(4)] == [{51}, {108}, {50}, {107}]
    assert all(tile(picture, row, column) == {0} for row in (0, 9) for column in range(4))
    right = picture[:, 29 * 4 - 1 + GAP :]
    assert [tile(right, 9, column) for column in range(4)] == [{218}, {118}, {219}, {119}]
