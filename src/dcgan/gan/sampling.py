"""Drawing digits from a trained generator: latents, labels, pixels."""

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
BATCH = 500  # images at a time: about 100 MB of feature maps


def latents(count: int, size: int, seed: int) -> Tensor:
    """(count, size) values from N(0, 1). Row i depends on `seed` and i alone, not on `count` or any batch size."""
    rows = torch.empty(count, size)
    for block, start in enumerate(range(0, count, 1000)):
        drawn = torch.randn(1000, size, generator=random_stream(seed, "sample", block))
        rows[start : start + 1000] = drawn[: count - start]
    return rows


def label_sequence(count: int, class_mix: str, seed: int) -> Tensor:
    """(count,) labels in shuffled order.

    `class_mix` "balanced": as many of each digit. "mnist": the first 10,000 have exactly the test set's class counts
    and all together the training set's proportions, so that no score pays for a difference in class mix.
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
    """Digits as uint8 (N, 28, 28) from latents (N, latent_size) and labels (N,); `on_batch` is told of each batch."""
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(z), BATCH):
            part = slice(start, start + BATCH)
            images = generator(z[part], labels[part] if generator.conditional else None)
            pieces.append(to_uint8(images))
            on_batch(len(pieces[-1]))
    return np.concatenate(pieces)


def to_uint8(images: Tensor) -> np.ndarray:
    """(N, 1, 28, 28) in [-1, 1] to uint8 (N, 28, 28), rounded to the nearest grey level."""
    return ((images[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _proportional(count: int, weights: tuple[int, ...]) -> np.ndarray:
    """`count` split in proportion to `weights`, by largest remainder: the parts sum to `count`."""
    exact = count * np.asarray(weights) / sum(weights)
    parts = np.floor(exact).astype(int)
    most_owed = np.argsort(-(exact - parts), kind="stable")
    parts[most_owed[: count - parts.sum()]] += 1
    return parts


def _shuffled(counts: np.ndarray, seed: int, part: int) -> Tensor:
    labels = torch.from_numpy(np.repeat(np.arange(CLASSES), counts))
    return labels[torch.randperm(len(labels), generator=random_stream(seed, "labels", part))]


def latent_walk(generator: Generator, seed: int, steps: int) -> np.ndarray:
    """uint8 (10 * steps, 28, 28): a row a label (without labels: a row a pair), from one latent to another.

    Along the great circle between the two (White 2016): a straight line would pass lengths that N(0, 1) never draws.
    The first value, which chooses the kind, stays: clusters lie side by side in no order, and a walk would jump.
    """
    ends = latents(2 * CLASSES, generator.arguments["latent_size"], seed).view(CLASSES, 2, 1, -1)
    kind, start, end = ends[:, 0, :, :1], ends[:, 0, :, 1:], ends[:, 1, :, 1:]  # (classes, 1, 1 or latent_size - 1)
    cosine = torch.cosine_similarity(start, end, dim=-1)[..., None]
    angle = torch.arccos(cosine)
    share = torch.linspace(0, 1, steps)[None, :, None]
    z = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
    z = torch.cat([kind.expand(-1, steps, -1), z], dim=-1)
    labels = torch.arange(CLASSES).repeat_interleave(steps)
    return generate(generator, z.flatten(0, 1), labels)
