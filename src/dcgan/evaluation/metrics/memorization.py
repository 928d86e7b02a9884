"""Has the generator copied? Distances to the nearest training image, beside those of unseen real images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan.support.progress import progress

CHUNK = 250  # rows of the distance matrix held at once: 60 MB for 60,000 columns
NEAR = 0.01
DIGITS = 10


@dataclass(frozen=True)
class Nearest:
    """For each image the training image nearest to it in pixels."""

    distance: np.ndarray  # float64 [N]: Euclidean over 784 pixels of 0..1; 0 is a copy to the byte
    row: np.ndarray  # int64 [N]: which training image
    digit: np.ndarray  # uint8 [N]: what that one shows

    def closest(self, count: int) -> np.ndarray:
        """int64 [10, count]: for each digit the images with the smallest distances, smallest first; -1: no more."""
        found = np.full((DIGITS, count), -1)
        for digit in range(DIGITS):
            rows = np.flatnonzero(self.digit == digit)
            rows = rows[np.argsort(self.distance[rows], kind="stable")[:count]]
            found[digit, : len(rows)] = rows
        return found


def nearest_training(images: np.ndarray, training: np.ndarray, labels: np.ndarray) -> Nearest:
    """Find the nearest of uint8 [M, 28, 28] training images, with their labels, to each of uint8 [N, 28, 28].

    float32 products choose the neighbor, among those that differ by less than 1e-3 any; its distance is exact.
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


def near_distances(unseen: Nearest) -> list[float]:
    """For each digit the distance that 1 % of unseen real images undercut: what is nearer counts as a copy.

    Digit by digit, as a stroke of a one is nearer to some other one than any two eights are to each other.
    """
    return [float(np.quantile(unseen.distance[unseen.digit == digit], NEAR)) for digit in range(DIGITS)]


def memorization_scores(nearest: Nearest, near: list[float]) -> dict[str, float]:
    """The median distance, and the share of images nearer than `near` (`near_distances` of the test images)."""
    return {
        "nearest_training": float(np.median(nearest.distance)),
        "copied": float((nearest.distance < np.array(near)[nearest.digit]).mean()),
    }


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1)).float() / 255
