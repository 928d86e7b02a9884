"""Pictures of an evaluation: real beside generated, and the closest training images."""

import numpy as np

from dcgan.evaluation.metrics.memorization import Nearest
from dcgan.images import digit_grid, grid, side_by_side

A_CLASS = 12  # images of each digit, real and generated each


def real_beside_generated(
    real: np.ndarray, real_digits: np.ndarray, generated: np.ndarray, digits: np.ndarray
) -> np.ndarray:
    """A row a digit, 0 to 9: the first real ones left, the first generated ones right, unpicked.

    Args:
        real, generated: uint8 [N, 28, 28].
        real_digits, digits: integers [N], what they show or were asked to show.
    """
    sides = [grid(digit_grid(*side, A_CLASS), A_CLASS) for side in ((real, real_digits), (generated, digits))]
    return side_by_side(sides)


def closest_pairs(
    generated: np.ndarray, nearest: Nearest, training: np.ndarray, unseen: np.ndarray, pairs: dict[str, list[int]]
) -> np.ndarray:
    """Left the generated images that lie nearest to a training image, right the same for unseen real images.

    A row a digit; each image is followed by its training image, the closest pair first.

    Args:
        generated, unseen: uint8 [N, 28, 28]; unseen: the test images.
        nearest: of the generated images.
        pairs: rows `test` and `train` of the closest test images, digit by digit, from the ruler's record.
    """
    count = len(pairs["test"]) // 10
    closest = nearest.closest(count).ravel()
    found = (closest >= 0)[:, None, None]  # a digit that nothing comes near stays black
    sides = [
        (generated[closest] * found, training[nearest.row[closest]] * found),
        (unseen[pairs["test"]], training[pairs["train"]]),
    ]
    return side_by_side([grid(np.stack(side, 1).reshape(-1, 28, 28), 2 * count) for side in sides])
