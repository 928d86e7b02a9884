"""FID and KID against closed forms and an independent implementation."""

import numpy as np
import pytest
import torch
from features import normal
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd

from dcgan.evaluation.metrics.fid_kid import KID_SUBSETS, fid, kid, kid_subset_size


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

    def test_given_scaled_features_it_is_the_distance_of_the_standard_deviations(self):
        """C and s^2 C commute: tr(C + s^2 C - 2 s C) = (s - 1)^2 tr C, here s = 3 and the means are zero."""
        features = normal(400)
        features -= features.mean(0)
        expected = 4 * float(torch.trace(torch.cov(features.T)))
        assert fid(features, 3 * features) == pytest.approx(expected, rel=1e-8)

    def test_constant_features_change_nothing(self):
        a, b = normal(400), normal(400, seed=1)
        constant = torch.zeros(400, 5, dtype=torch.float64)
        padded = fid(torch.cat([a, constant], 1), torch.cat([b, constant], 1))
        assert padded == pytest.approx(fid(a, b), rel=1e-6)

    def test_it_agrees_with_torch_fidelity(self):
        a, b = normal(500, 32), normal(500, 32, seed=1, scale=1.2) ** 2
        statistics = [fid_features_to_statistics(features) for features in (a, b)]
        theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        assert fid(a, b) == pytest.approx(theirs, rel=1e-4)


def kid_by_hand(real: torch.Tensor, generated: torch.Tensor, *, seed: int, gamma: float) -> float:
    """The unbiased estimate of the squared MMD, written down from the paper, on the subsets that `seed` draws."""

    def mean_of_pairs(a: np.ndarray, b: np.ndarray, *, same_set: bool) -> float:
        kernel = (gamma * a @ b.T + 1) ** 3
        return (kernel.sum() - kernel.trace()) / (len(a) * (len(a) - 1)) if same_set else kernel.mean()

    torch.manual_seed(seed)
    size, found = len(real) // 10, []
    for _ in range(100):
        x, y = (features[torch.randperm(len(features))[:size]].numpy() for features in (real, generated))
        within = mean_of_pairs(x, x, same_set=True) + mean_of_pairs(y, y, same_set=True)
        found.append(within - 2 * mean_of_pairs(x, y, same_set=False))
    return float(np.mean(found))


class TestKid:
    @pytest.mark.parametrize("gamma", [1 / 8, 0.02])
    def test_it_is_the_formula_of_the_paper_over_100_subsets(self, gamma):
        a, b = normal(300), normal(300, seed=1, scale=1.3)
        assert kid(a, b, seed=11, gamma=gamma) == pytest.approx(kid_by_hand(a, b, seed=11, gamma=gamma), rel=1e-9)

    def test_without_a_gamma_the_kernel_is_that_of_the_paper(self):
        a, b = normal(300), normal(300, seed=1, scale=1.3)
        assert kid(a, b, seed=11) == kid(a, b, seed=11, gamma=1 / 8)

    def test_it_agrees_with_torch_fidelity_on_the_same_subsets(self):
        a, b, gamma = normal(300), normal(300, seed=1, scale=1.3), 0.07
        torch.manual_seed(11)
        theirs = []
        for _ in range(KID_SUBSETS):
            chosen = [features[torch.randperm(300)[: kid_subset_size(300)]].numpy() for features in (a, b)]
            polynomial = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": gamma, "kid_kernel_poly_coef0": 1}
            theirs.append(kernel_mmd(*chosen, kid_kernel="poly", **polynomial))
        assert kid(a, b, seed=11, gamma=gamma) == pytest.approx(np.mean(theirs), rel=1e-4)

    def test_it_matches_the_closed_form_for_normal_distributions(self):
        """With t = x.y / 8 of normal x, y in 8 dimensions, E(t + 1)^3 = 1 + 3 E t^2: 1.375 for two standard normals,
        2.5 if one is doubled, 7 if both are; so 1.375 + 7 - 2 x 2.5 = 3.375. The tolerances are five standard
        deviations as measured over 40 draws: 0.18, and 0.0054 between equal distributions."""
        a, b = normal(1000), normal(1000, seed=1)
        assert kid(a, 2 * b, seed=0) == pytest.approx(3.375, abs=0.9)
        assert kid(a, b, seed=0) == pytest.approx(0, abs=0.027)

    def test_the_seed_decides_and_the_global_generator_is_unchanged(self):
        a, b = normal(300), normal(300, seed=1)
        state = torch.get_rng_state()
        assert kid(a, b, seed=1) == kid(a, b, seed=1) != kid(a, b, seed=2)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_subset_is_a_tenth_of_the_images(self):
        assert kid_subset_size(10_000) == 1000
