"""Has the generator memorized its training set? Distances to the nearest training image, compared with test images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan.constants import CLASSES
from dcgan.support.progress import progress

CHUNK = 250  # rows of the distance matrix in memory at once: 60 MB for 60,000 columns
NEAR_QUANTILE = 0.01  # of test images


@dataclass(frozen=True)
class Nearest:
    """For each image the training image nearest to it in pixels."""

    distance: np.ndarray  # float64 [N]: Euclidean over 784 pixels of 0..1; 0 is an exact copy
    row: np.ndarray  # int64 [N]: the training image's row in the training set
    label: np.ndarray  # uint8 [N]: the training image's label

    def closest(self, count: int) -> np.ndarray:
        """int64 [10, count]: rows of the images with the smallest distances, for each label of the training image.

        Smallest distance first; -1 where a label has fewer.
        """
        closest = np.full((CLASSES, count), -1)
        for label in range(CLASSES):
            rows = np.flatnonzero(self.label == label)
            rows = rows[np.argsort(self.distance[rows], kind="stable")[:count]]
            closest[label, : len(rows)] = rows
        return closest


def nearest_training(images: np.ndarray, training: np.ndarray, labels: np.ndarray) -> Nearest:
    """Find the nearest of uint8 [M, 28, 28] training images, with their labels, to each of uint8 [N, 28, 28].

    Neighbors come from float32 products: among candidates whose distances differ by less than 1e-3 any may be chosen.
    The distance to the chosen one is exact.
    """
    known = _pixels(training)
    half_squares = known.square().sum(1) / 2
    rows = []
    with progress("nearest training images", len(images), "images") as bar:
        for part in _pixels(images).split(CHUNK):
            # the nearest x maximizes a.x - |x|^2 / 2, as |a - x|^2 = |a|^2 - 2 (a.x - |x|^2 / 2)
            rows.append(torch.addmm(half_squares, part, known.T, beta=-1).argmax(1))
            bar.update(len(part))
    row = torch.cat(rows).numpy()
    difference = images.astype(np.float32) - training[row]
    distance = np.sqrt(np.square(difference, dtype=np.float64).sum((1, 2))) / 255
    return Nearest(distance, row, labels[row])


def near_distances(test: Nearest) -> list[float]:
    """For each class the distance below which 1 % of test images lie: anything closer counts as a copy.

    Per class, because two ones are much closer to each other than any two eights.
    """
    return [float(np.quantile(test.distance[test.label == label], NEAR_QUANTILE)) for label in range(CLASSES)]


def memorization_scores(nearest: Nearest, near: list[float]) -> dict[str, float]:
    """The median distance, and the fraction of images closer than `near` (`near_distances` of the test images)."""
    return {
        "nearest_training": float(np.median(nearest.distance)),
        "copied": float((nearest.distance < np.array(near)[nearest.label]).mean()),
    }


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1)).float() / 255
