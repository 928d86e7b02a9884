"""Pictures of an evaluation: real beside generated digits, and the closest pairs of generated and training image."""

import numpy as np

from dcgan.constants import CLASSES
from dcgan.evaluation.metrics.memorization import Nearest
from dcgan.images import digit_grid, grid, side_by_side

PER_CLASS = 12  # images of each class, on the real and on the generated side


def real_beside_generated(
    real: np.ndarray, real_labels: np.ndarray, generated: np.ndarray, generated_labels: np.ndarray
) -> np.ndarray:
    """One row per class, 0 to 9: the first real images left, the first generated ones right; none is selected.

    Args:
        real, generated: uint8 [N, 28, 28].
        real_labels, generated_labels: integers [N].
    """
    sides = ((real, real_labels), (generated, generated_labels))
    return side_by_side([grid(digit_grid(*side, PER_CLASS), PER_CLASS) for side in sides])


def closest_pairs(
    generated: np.ndarray, nearest: Nearest, training: np.ndarray, test: np.ndarray, test_pairs: dict[str, list[int]]
) -> np.ndarray:
    """Left the generated images that are closest to a training image, right the same for test images.

    One row per class; each image is followed by its nearest training image, the closest pair first.

    Args:
        generated, training, test: uint8 [N, 28, 28].
        nearest: training images nearest to the generated ones.
        test_pairs: rows `test` and `train` of the closest test images, class by class (the feature extractor's
            metadata has them).
    """
    count = len(test_pairs["test"]) // CLASSES
    closest = nearest.closest(count).ravel()
    exists = (closest >= 0)[:, None, None]  # a class without enough images stays black
    sides = [
        (generated[closest] * exists, training[nearest.row[closest]] * exists),
        (test[test_pairs["test"]], training[test_pairs["train"]]),
    ]
    return side_by_side([grid(np.stack(side, 1).reshape(-1, 28, 28), 2 * count) for side in sides])
