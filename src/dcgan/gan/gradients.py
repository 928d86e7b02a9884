"""Gradients from several workers: averaged, and applied by fused Adam."""

import torch
from torch import Tensor


def average_gradients(gradients: list[list[Tensor]]) -> list[Tensor]:
    """Mean over the workers, summed in a fixed order so that rounding is reproducible.

    Args:
        gradients: for each worker a gradient for each weight; the first worker's tensors are overwritten.
    """
    total = gradients[0]
    for other in gradients[1:]:
        torch._foreach_add_(total, other)
    if len(gradients) > 1:
        torch._foreach_div_(total, len(gradients))
    return total


def apply_gradients(optimizer: torch.optim.Optimizer, weights: list[Tensor], gradients: list[Tensor]) -> None:
    """One step of `optimizer`, which must hold exactly these `weights`."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = match_layout(weight, gradient)
    optimizer.step()


def match_layout(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight`.

    Fused Adam pairs elements by their position in memory and ignores strides: a gradient in another layout would
    silently update the wrong weights.
    """
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)
