"""Digits on request, and as lines of handwriting."""

from collections.abc import Sequence

import numpy as np
import torch

from dcgan.gan.networks import Generator
from dcgan.gan.sampling import generate, latents


def draw(generator: Generator, digits: str, seeds: Sequence[int]) -> np.ndarray:
    """An image of each digit, uint8 (N, 28, 28). Digit i is drawn with row i of the latents of its seed."""
    labels = torch.tensor([int(digit) for digit in digits])
    z = torch.empty(len(labels), generator.arguments["latent_size"])
    for seed in set(seeds):
        chosen = torch.tensor(seeds) == seed
        z[chosen] = latents(*z.shape, seed)[chosen]
    return generate(generator, z, labels)


def lines(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 (N, 28, 28) as lines of `columns` digits, spaced as in handwriting."""
    tight = images[:, :, 3:-3]  # the outer four pixels of an MNIST digit are empty
    return tight.reshape(-1, columns, 28, 22).swapaxes(1, 2).reshape(-1, columns * 22)
