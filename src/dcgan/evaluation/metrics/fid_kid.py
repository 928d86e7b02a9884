"""Distances between two sets of features: FID and KID, computed step by step as torchmetrics does.

Importing torchmetrics takes longer than computing either. A test checks that both agree to the last bit.
"""

import torch
from torch import Tensor

KID_SUBSETS = 100


def kid_subset_size(count: int) -> int:
    """A tenth of the images: 1,000 of 10,000, as in the paper."""
    return max(count // 10, 2)


def fid(real: Tensor, generated: Tensor) -> float:
    """Frechet distance of two Gaussians fitted to the features (Heusel et al. 2017, arXiv:1706.08500).

    ||m_r - m_g||^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2)), in float64. It falls with the number of samples even for
    equal distributions: compare only equal numbers.

    Args:
        real, generated: floats [N, D], N at least 2.
    """
    (mean_r, covariance_r), (mean_g, covariance_g) = _gaussian(real.double()), _gaussian(generated.double())
    root_trace = torch.linalg.eigvals(covariance_r @ covariance_g).sqrt().real.sum()
    squared = (mean_r - mean_g).square().sum() + (covariance_r.trace() + covariance_g.trace()) - 2 * root_trace
    return max(float(squared), 0.0)  # two equal sets give about -1e-14


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of float64 [N, D]."""
    count = len(features)
    mean = (features.sum(0) / count)[None]
    return mean[0], (features.T @ features - count * (mean.T @ mean)) / (count - 1)


def kid(real: Tensor, generated: Tensor, *, seed: int, gamma: float | None = None) -> float:
    """Kernel distance: the unbiased squared MMD, kernel (gamma x.y + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401).

    The mean over random subsets, in float64. Around 0 for equal distributions, so negative half of the time.

    Args:
        real, generated: floats [N, D], equally many, at least 20.
        seed: for drawing the subsets.
        gamma: None is the paper's 1 / D, meant for features whose squares average 1; others need their own scale, or
            a few large values dominate the cube.
    """
    real, generated = real.double(), generated.double()
    scale = 1 / real.shape[1] if gamma is None else gamma
    size, rng = kid_subset_size(len(real)), torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=rng)[:size]]

    return float(torch.stack([_squared_mmd(subset(real), subset(generated), scale) for _ in range(KID_SUBSETS)]).mean())


def _squared_mmd(x: Tensor, y: Tensor, gamma: float) -> Tensor:
    """Unbiased estimate from float64 [M, D] of each set: a scalar."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T * gamma + 1.0) ** 3

    def sum_of_pairs(values: Tensor) -> Tensor:
        return (values.sum(1) - values.diagonal()).sum()  # without those of a point with itself

    size = len(x)
    within = sum_of_pairs(kernel(x, x)) + sum_of_pairs(kernel(y, y))
    return within / (size * (size - 1)) - 2 * kernel(x, y).sum(0).sum() / size**2
