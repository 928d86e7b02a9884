"""Distances, manifold scores and memorization against closed forms, brute force and an independent implementation."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd

from dcgan.evaluation.metrics.fid_kid import KID_SUBSETS, fid, kid, kid_subset_size
from dcgan.evaluation.metrics.memorization import Nearest, memorization_scores, near_distances, nearest_training
from dcgan.evaluation.metrics.prdc import manifold, manifold_scores

NO_CHANGE = {"precision": 1.0, "recall": 1.0, "coverage": 1.0}


def normal(count: int, size: int = 8, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, size, generator=generator, dtype=torch.float64)


class TestFid:
    def test_equal_sets_are_at_distance_zero(self):
        features = normal(500)
        assert 0 <= fid(features, features) < 1e-9  # tr(2C) - 2 tr(C): rounding only, and never below zero

    def test_it_is_symmetric(self):
        a, b = normal(300), normal(300, seed=1, scale=1.5)
        assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)

    def test_given_equal_covariance_it_is_the_squared_distance_of_the_means(self):
        features, offset = normal(400), torch.linspace(0, 2, 8, dtype=torch.float64)
        assert fid(features, features + offset) == pytest.approx(float(offset.square().sum()), rel=1e-8)

    def test_given_a_scale_it_is_that_of_the_standard_deviations(self):
        """C and s^2 C commute: tr(C + s^2 C - 2 s C) = (s - 1)^2 tr C, here s = 3 and the means are zero."""
        features = normal(400)
        features -= features.mean(0)
        expected = 4 * float(torch.trace(torch.cov(features.T)))
        assert fid(features, 3 * features) == pytest.approx(expected, rel=1e-8)

    def test_dead_features_do_no_harm(self):
        a, b = normal(400), normal(400, seed=1)
        dead = torch.zeros(400, 5, dtype=torch.float64)
        padded = fid(torch.cat([a, dead], 1), torch.cat([b, dead], 1))
        assert padded == pytest.approx(fid(a, b), rel=1e-6)

    def test_it_agrees_with_torch_fidelity(self):
        a, b = normal(500, 32), normal(500, 32, seed=1, scale=1.2) ** 2
        statistics = [fid_features_to_statistics(features) for features in (a, b)]
        theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        assert fid(a, b) == pytest.approx(theirs, rel=1e-4)


class TestKid:
    def test_it_agrees_with_torch_fidelity_on_the_same_subsets(self):
        a, b, gamma = normal(300), normal(300, seed=1, scale=1.3), 0.07
        torch.manual_seed(11)
        theirs = []
        for _ in range(KID_SUBSETS):
            chosen = [features[torch.randperm(300)[: kid_subset_size(300)]].numpy() for features in (a, b)]
            polynomial = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": gamma, "kid_kernel_poly_coef0": 1}
            theirs.append(kernel_mmd(*chosen, kid_kernel="poly", **polynomial))
        assert kid(a, b, seed=11, gamma=gamma) == pytest.approx(np.mean(theirs), rel=1e-4)

    def test_it_is_what_the_kernel_gives_for_known_distributions(self):
        """With t = x.y / 8 of normal x, y in 8 dimensions, E(t + 1)^3 = 1 + 3 E t^2: 1.375 for equal ones, 2.5 for one
        and a doubled one, 7 for two doubled ones; so 1.375 + 7 - 2 x 2.5 = 3.375. Over 40 draws the standard
        deviation was 0.18, and 0.0054 between equal distributions, where 0 is expected: five of them each."""
        a, b = normal(1000), normal(1000, seed=1)
        assert kid(a, 2 * b, seed=0) == pytest.approx(3.375, abs=0.9)
        assert kid(a, b, seed=0) == pytest.approx(0, abs=0.027)

    def test_its_seed_decides_and_the_global_generator_stays(self):
        a, b = normal(300), normal(300, seed=1)
        state = torch.get_rng_state()
        assert kid(a, b, seed=1) == kid(a, b, seed=1) != kid(a, b, seed=2)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_tenth_is_drawn_of_ten_thousand(self):
        assert kid_subset_size(10_000) == 1000


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


class TestManifold:
    def test_it_is_what_the_papers_define(self):
        real, generated = normal(1300, 4), normal(1300, 4, seed=1, scale=1.3) + 0.3  # more than one chunk
        found = manifold_scores(manifold(real), manifold(generated))
        assert found == pytest.approx(brute_force(real.numpy(), generated.numpy()), abs=1e-12)
        assert all(0.1 < value < 0.99 for value in found.values())  # the case says something

    def test_a_copy_of_the_real_points_has_everything(self):
        points = manifold(normal(200))
        found = manifold_scores(points, points)
        assert found.pop("density") >= 1  # each point lies in its own ball and in about five others
        assert found == NO_CHANGE

    def test_points_elsewhere_have_nothing(self):
        found = manifold_scores(manifold(normal(200)), manifold(normal(200, seed=1) + 100))
        assert set(found.values()) == {0.0}

    def test_one_point_repeated_is_precise_and_recalls_nothing(self):
        real = normal(200)
        found = manifold_scores(manifold(real), manifold(real[:1].repeat(200, 1)))
        assert found["precision"] == 1 and found["recall"] <= 1 / 200 and found["coverage"] < 0.1


class TestMemorization:
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (700, 28, 28), dtype=np.uint8)
    labels = (np.arange(700) % 10).astype(np.uint8)
    images = rng.integers(0, 256, (300, 28, 28), dtype=np.uint8)

    def find(self, images: np.ndarray) -> Nearest:
        return nearest_training(images, self.training, self.labels)

    def test_a_copy_is_found_at_distance_zero(self):
        found = self.find(self.training[[5, 600, 3]])
        assert found.row.tolist() == [5, 600, 3] and found.distance.tolist() == [0, 0, 0]
        assert found.digit.tolist() == [5, 0, 3]

    def test_the_nearest_is_that_of_brute_force(self):
        found = self.find(self.images)
        images, training = (
            part.reshape(len(part), -1).astype(np.float64) / 255 for part in (self.images, self.training)
        )
        expected = np.stack([np.sqrt(((image - training) ** 2).sum(1)) for image in images])
        assert (found.row == expected.argmin(1)).all()
        assert found.distance == pytest.approx(expected.min(1), rel=1e-6)

    def test_distance_is_in_brightness_over_all_pixels(self):
        """Four pixels changed by 255 are two away."""
        changed = np.zeros((1, 28, 28), dtype=np.uint8)
        changed[0, 3, :4] = 255
        found = nearest_training(changed, np.zeros((6, 28, 28), dtype=np.uint8), np.zeros(6, dtype=np.uint8))
        assert found.distance == pytest.approx([2.0], rel=1e-7)

    def test_one_percent_of_unseen_images_count_as_near_digit_by_digit(self):
        """Each digit's quantile lies between its nearest image and the next: one image of each is nearer."""
        unseen = self.find(self.images)
        near = near_distances(unseen)
        assert memorization_scores(unseen, near)["copied"] == pytest.approx(10 / 300)
        assert len({*near}) == 10
        assert memorization_scores(self.find(self.training[:50]), near) == {"nearest_training": 0.0, "copied": 1.0}

    def test_the_closest_of_each_digit_come_first(self):
        found = self.find(np.concatenate([self.images[:99], self.training[7:8]]))
        closest = found.closest(40)
        assert closest[7, 0] == 99
        for digit, rows in enumerate(closest):
            kept = rows[rows >= 0]
            assert set(kept) == set(np.flatnonzero(found.digit == digit))
            assert (np.diff(found.distance[kept]) >= 0).all()
