"""Has the generator copied? Distances to the nearest training image, beside those of unseen real images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan.progress import progress

CHUNK = 250  # rows of the distance matrix held at once: 60 MB for 60,000 columns
NEAR = 0.01


@dataclass(frozen=True)
class Nearest:
    """For each image the training image nearest to it in pixels."""

    distance: np.ndarray  # float64 [N]: Euclidean over 784 pixels of 0..1; 0 is a copy to the byte
    row: np.ndarray  # int64 [N]: which training image

    def closest(self, count: int) -> np.ndarray:
        """Rows of the `count` images with the smallest distances, smallest first."""
        return np.argsort(self.distance, kind="stable")[:count]


def nearest_training(images: np.ndarray, training: np.ndarray, title: str) -> Nearest:
    """Find the nearest of uint8 [M, 28, 28] training images to each of uint8 [N, 28, 28].

    float32 products choose the neighbour, among those that differ by less than 1e-3 any; its distance is exact.
    """
    known = _pixels(training)
    half_squares = known.square().sum(1) / 2
    rows = []
    with progress(title, len(images), "images") as bar:
        for part in _pixels(images).split(CHUNK):
            # the nearest x maximizes a.x - |x|^2 / 2, as |a - x|^2 = |a|^2 - 2 (a.x - |x|^2 / 2)
            rows.append(torch.addmm(half_squares, part, known.T, beta=-1).argmax(1))
            bar.update(len(part))
    row = torch.cat(rows).numpy()
    difference = images.astype(np.float32) - training[row]
    distance = np.sqrt(np.square(difference, dtype=np.float64).sum((1, 2))) / 255
    return Nearest(distance, row)


def near_distance(unseen: Nearest) -> float:
    """The distance that 1 % of unseen real images undercut: what is nearer counts as a copy."""
    return float(np.quantile(unseen.distance, NEAR))


def memorization_scores(nearest: Nearest, near: float) -> dict[str, float]:
    """The median distance, and the share of images nearer than `near` (`near_distance` of the test images)."""
    return {
        "nearest_training": float(np.median(nearest.distance)),
        "copied": float((nearest.distance < near).mean()),
    }


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1)).float() / 255
