"""Sampling from a trained generator: latents, labels, images."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dcgan.constants import CLASSES
from dcgan.gan.networks import Generator
from dcgan.gan.rng import random_stream

# Class counts of MNIST's 10,000 test and 60,000 training labels, digits 0 to 9.
TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
TRAINING_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
BATCH = 500  # images per forward pass: about 100 MB of feature maps


def latents(count: int, size: int, seed: int) -> Tensor:
    """(count, size) values from N(0, 1). Row i depends on `seed` and i only, not on `count` or a batch size."""
    rows = torch.empty(count, size)
    for block, start in enumerate(range(0, count, 1000)):
        drawn = torch.randn(1000, size, generator=random_stream(seed, "sample", block))
        rows[start : start + 1000] = drawn[: count - start]
    return rows


def label_sequence(count: int, class_mix: str, seed: int) -> Tensor:
    """(count,) labels in shuffled order.

    `class_mix` "balanced": equally many of each digit. "mnist": the first 10,000 have exactly the class counts of the
    test set, and all of them the proportions of the training set, so that no score depends on the class mix.
    """
    if class_mix == "balanced":
        return _shuffled(_proportional(count, (1,) * CLASSES), seed, 0)
    first = min(count, sum(TEST_COUNTS))
    head = _proportional(first, TEST_COUNTS)
    rest = np.maximum(_proportional(count, TRAINING_COUNTS) - head, 0)
    tail = _proportional(count - first, tuple(rest)) if count > first else np.zeros(CLASSES, dtype=int)
    return torch.cat([_shuffled(head, seed, 0), _shuffled(tail, seed, 1)])


def generate(
    generator: Generator, z: Tensor, labels: Tensor | None, on_batch: Callable[[int], object] = lambda n: None
) -> np.ndarray:
    """Images as uint8 (N, 28, 28).

    Args:
        z: latents (N, latent_size).
        labels: (N,) int64; ignored, and may be None, when the generator is not conditional.
        on_batch: called with the number of images after each batch.
    """
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(z), BATCH):
            part = slice(start, start + BATCH)
            images = generator(z[part], labels[part] if generator.conditional else None)
            pieces.append(to_uint8(images))
            on_batch(len(pieces[-1]))
    return np.concatenate(pieces)


def to_uint8(images: Tensor) -> np.ndarray:
    """(N, 1, 28, 28) in [-1, 1] to uint8 (N, 28, 28), rounded to the nearest gray level."""
    return ((images[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _proportional(count: int, weights: tuple[int, ...]) -> np.ndarray:
    """`count` split in proportion to `weights` by the largest-remainder method: the parts sum to `count`."""
    exact = count * np.asarray(weights) / sum(weights)
    parts = np.floor(exact).astype(int)
    largest = np.argsort(-(exact - parts), kind="stable")
    parts[largest[: count - parts.sum()]] += 1
    return parts


def _shuffled(counts: np.ndarray, seed: int, part: int) -> Tensor:
    labels = torch.from_numpy(np.repeat(np.arange(CLASSES), counts))
    return labels[torch.randperm(len(labels), generator=random_stream(seed, "labels", part))]


def latent_walk(generator: Generator, seed: int, steps: int) -> np.ndarray:
    """Interpolations between pairs of latents: uint8 (10 * steps, 28, 28), `steps` images for each label.

    Spherical (White 2016): a straight line passes through points with a smaller norm than real samples have. The
    values of a latent, which select cluster and white, are held fixed: neighboring clusters need not look alike.
    Without labels the 10 rows are simply 10 pairs.
    """
    ends = latents(2 * CLASSES, generator.arguments["latent_size"], seed).view(CLASSES, 2, 1, -1)
    fixed = generator.selectors
    selectors, start, end = ends[:, 0, :, :fixed], ends[:, 0, :, fixed:], ends[:, 1, :, fixed:]  # (classes, 1, ...)
    cosine = torch.cosine_similarity(start, end, dim=-1)[..., None]
    angle = torch.arccos(cosine)
    t = torch.linspace(0, 1, steps)[None, :, None]
    z = (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)
    z = torch.cat([selectors.expand(-1, steps, -1), z], dim=-1)
    labels = torch.arange(CLASSES).repeat_interleave(steps)
    return generate(generator, z.flatten(0, 1), labels)
