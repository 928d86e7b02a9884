"""Feature sets for tests of metrics."""

import torch


def normal(count: int, size: int = 8, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """float64 [count, size] from a normal distribution with standard deviation `scale`."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, size, generator=generator, dtype=torch.float64)
