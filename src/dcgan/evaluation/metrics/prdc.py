"""Quality and variety separately: precision and recall, density and coverage, from nearest neighbors of features."""

from dataclasses import dataclass

import torch
from torch import Tensor

PRECISION_RECALL_NEIGHBORS = 3
DENSITY_COVERAGE_NEIGHBORS = 5
CHUNK = 1000  # rows of a distance matrix in memory at once: 80 MB for 10,000 columns


@dataclass(frozen=True)
class Manifold:
    """A set of features with the distance from each to its k-th nearest neighbor, k = 1 .. 5."""

    features: Tensor  # float64 [N, D]
    radii: Tensor  # float64 [N, 5]

    def radius(self, neighbors: int) -> Tensor:
        return self.radii[:, neighbors - 1]


def manifold(features: Tensor) -> Manifold:
    """The neighbor distances of float64 [N, D], N at least 6."""
    nearest = DENSITY_COVERAGE_NEIGHBORS + 1  # each point is its own nearest
    radii = [torch.cdist(part, features).topk(nearest, largest=False).values for part in features.split(CHUNK)]
    return Manifold(features, torch.cat(radii)[:, 1:])


def manifold_scores(real: Manifold, generated: Manifold) -> dict[str, float]:
    """Precision, recall, density and coverage of generated features against real ones.

    Precision: fraction of generated points inside a real point's ball, which reaches to its 3rd neighbor. Recall: the
    same with real and generated swapped (Kynkaanniemi et al. 2019, arXiv:1904.06991). Density: mean number of real
    balls, to the 5th neighbor, around a generated point, over 5. Coverage: fraction of real balls with at least one
    generated point (Naeem et al. 2020, arXiv:2002.09797). Even real data scores below 1 in all but density. Values
    depend on the number of points: compare only equal numbers.
    """
    k = DENSITY_COVERAGE_NEIGHBORS
    real_reach, real_reach_k = real.radius(PRECISION_RECALL_NEIGHBORS), real.radius(k)
    generated_reach = generated.radius(PRECISION_RECALL_NEIGHBORS)
    inside_real, balls = 0, 0
    reached = torch.zeros(len(real.features), dtype=torch.bool)
    covered = torch.zeros(len(real.features), dtype=torch.bool)
    rows = generated.features.split(CHUNK), generated_reach.split(CHUNK)
    for points, reach in zip(*rows, strict=True):
        distances = torch.cdist(points, real.features)  # [chunk, real]
        inside_real += int((distances <= real_reach).any(1).sum())
        reached |= (distances <= reach[:, None]).any(0)
        held = distances <= real_reach_k
        balls += int(held.sum())
        covered |= held.any(0)
    count = len(generated.features)
    return {
        "precision": inside_real / count,
        "recall": float(reached.double().mean()),
        "density": balls / (k * count),
        "coverage": float(covered.double().mean()),
    }
