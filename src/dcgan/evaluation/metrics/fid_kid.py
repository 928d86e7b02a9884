"""Distances between two sets of features, by torchmetrics: FID and KID."""

import warnings

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from dcgan.evaluation.threads import seeded

KID_SUBSETS = 100


def kid_subset_size(count: int) -> int:
    """A tenth of the images: 1,000 of 10,000, as in the paper."""
    return max(count // 10, 2)


class _Identity(nn.Module):
    """Passes precomputed features through torchmetrics, which would compute them from images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def fid(real: Tensor, generated: Tensor) -> float:
    """Frechet distance of two Gaussians fitted to the features (Heusel et al. 2017, arXiv:1706.08500).

    ||m_r - m_g||^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2)), in float64. It falls with the number of samples even for
    equal distributions: compare only equal numbers.

    Args:
        real, generated: float64 [N, D], N at least 2.
    """
    metric = FrechetInceptionDistance(feature=_Identity(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return max(float(metric.compute()), 0.0)  # two equal sets give about -1e-14


def kid(real: Tensor, generated: Tensor, *, seed: int, gamma: float | None = None) -> float:
    """Kernel distance: the unbiased squared MMD, kernel (gamma x.y + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401).

    The mean over random subsets, in float64. Around 0 for equal distributions, so negative half of the time.

    Args:
        real, generated: float64 [N, D], equally many, at least 20.
        seed: for drawing the subsets; the global random generator is not changed.
        gamma: None is the paper's 1 / D, meant for features whose squares average 1; others need their own scale, or
            a few large values dominate the cube.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance`")  # 2 x 10 MB of features
        metric = KernelInceptionDistance(
            feature=_Identity(real.shape[1]), subsets=KID_SUBSETS, subset_size=kid_subset_size(len(real)), gamma=gamma
        ).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    with seeded(seed):
        mean, _ = metric.compute()
    return float(mean)
