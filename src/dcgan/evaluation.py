"""All scores of a set of generated digits: arrays in, one flat dict out."""

from pathlib import Path

import numpy as np

from dcgan.features import Ruler, load_ruler
from dcgan.metrics.distances import fid, kid
from dcgan.metrics.manifold import manifold, manifold_scores

COMPARED = 10_000  # generated images, and test images, that the feature scores compare


REAL_SEED = 0  # which training images stand for real data in the table


def matched_rows(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Random rows of uint8 [N] labels, without repetition, in random order, with `counts` (int [10]) of each class."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(labels == digit), count, replace=False) for digit, count in enumerate(counts)]
    return rng.permutation(np.concatenate(rows))


class QuickScores:
    """The feature scores alone, some seconds a call: for research on recipes, not for selecting what is published."""

    def __init__(self, test_images: np.ndarray, ruler: Ruler | None = None) -> None:
        self.ruler = ruler or load_ruler()
        self.real = manifold(self.ruler.features(test_images))

    def __call__(self, images: np.ndarray, labels: np.ndarray | None = None, *, seed: int = 2000) -> dict[str, float]:
        """Scores of uint8 [10000, 28, 28] and, when the model is conditional, the digits asked for, [10000]."""
        features, digits = self.ruler.look(images)
        scores = {"fid": fid(self.real.features, features)}
        if "real_scores" in self.ruler.record:
            scores["relative_fid"] = scores["fid"] / self.ruler.record["real_scores"]["fid"]
        scores["kid_x1000"] = 1000 * kid(self.real.features, features, seed=seed, gamma=self.ruler.kid_gamma)
        scores |= manifold_scores(self.real, manifold(features))
        if labels is not None:
            scores["agreement"] = float((digits.numpy() == labels).mean())
        return scores
