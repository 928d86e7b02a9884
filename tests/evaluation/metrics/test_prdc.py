"""Precision, recall, density and coverage against brute force and limiting cases."""

import numpy as np
import pytest
from features import normal

from dcgan.evaluation.metrics.prdc import manifold, manifold_scores


def brute_force(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage, written down from the papers."""

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radius(points: np.ndarray, k: int) -> np.ndarray:
        return np.sort(distances(points, points), 1)[:, k]

    across = distances(real, generated)
    return {
        "precision": float((across <= radius(real, 3)[:, None]).any(0).mean()),
        "recall": float((across <= radius(generated, 3)[None]).any(1).mean()),
        "density": float((across <= radius(real, 5)[:, None]).sum(0).mean() / 5),
        "coverage": float((across.min(1) <= radius(real, 5)).mean()),
    }


def test_scores_are_those_the_papers_define():
    real, generated = normal(1300, 4), normal(1300, 4, seed=1, scale=1.3) + 0.3  # more than one chunk
    found = manifold_scores(manifold(real), manifold(generated))
    assert found == pytest.approx(brute_force(real.numpy(), generated.numpy()), abs=1e-12)
    assert all(0.1 < value < 0.99 for value in found.values())  # not a degenerate case


def test_copies_of_the_real_points_have_full_precision_recall_and_coverage():
    points = manifold(normal(200))
    found = manifold_scores(points, points)
    assert found.pop("density") >= 1  # each point lies in its own ball and in about five others
    assert found == {"precision": 1.0, "recall": 1.0, "coverage": 1.0}


def test_points_far_away_score_zero():
    found = manifold_scores(manifold(normal(200)), manifold(normal(200, seed=1) + 100))
    assert set(found.values()) == {0.0}


def test_one_point_repeated_is_precise_and_recalls_nothing():
    real = normal(200)
    found = manifold_scores(manifold(real), manifold(real[:1].repeat(200, 1)))
    assert found["precision"] == 1 and found["recall"] <= 1 / 200 and found["coverage"] < 0.1
