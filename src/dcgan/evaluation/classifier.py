"""Classifiers: the digit network and its training, for the feature extractor and the classifier-based scores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcgan.constants import CLASSES
from dcgan.evaluation.threads import seeded
from dcgan.support.progress import progress

FEATURES = 128


class DigitNetwork(nn.Module):
    """Three convolution blocks (32, 64, 128) and a penultimate layer of 128 numbers.

    It takes images as they are stored, uint8 [N, 28, 28] with 0..255, and scales them to [-1, 1] itself, so a wrong
    value range is impossible.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, 32),  # [N, 32, 14, 14]
            *_block(32, 64),  # [N, 64, 7, 7]
            *_block(64, 128),  # [N, 128, 3, 3]
            nn.Flatten(),  # keeps positions: a digit shifted by three pixels gets other features
            nn.Linear(128 * 3 * 3, FEATURES),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(FEATURES, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """uint8 [N, 28, 28] -> float32 [N, 128], after the ReLU."""
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 with values 0..255, got {images.dtype}")
        return self.body(images[:, None].float() / 127.5 - 1)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, 28, 28] -> logits [N, 10]."""
        return self.head(self.features(images))


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),  # after pooling: the same values and gradients, on a quarter of the numbers
    ]


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: AdamW, one learning-rate cycle, cross-entropy, fp32."""

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3  # the cycle's peak
    weight_decay: float = 1e-4
    shift: int = 0  # augmentation: random shifts by up to this many pixels each way


def fit(
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    title: str,
    build: Callable[[], nn.Module] = DigitNetwork,
) -> nn.Module:
    """Train a new classifier and return it in evaluation mode.

    Args:
        images: uint8 [N, H, W].
        labels: integers [N], the classes.
        seed: for the initial weights, the order and the shifts; the global random generator is not changed.
        title: shown by the progress bar.
        build: returns the untrained network: images in, logits [N, classes] out.
    """
    network = _new_network(build, seed)
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    labels = labels.long()
    with progress(title, steps * recipe.batch_size, "images") as bar:
        for rows in _batches(len(images), recipe, rng):
            batch = shifted(images[rows], recipe.shift, rng)
            loss = functional.cross_entropy(network(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update(len(rows))
    return network.eval().requires_grad_(False)


def _new_network(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with seeded(seed):
        return build().to(memory_format=torch.channels_last)


def _batches(count: int, recipe: Recipe, rng: torch.Generator) -> Iterator[Tensor]:
    for _ in range(recipe.epochs):
        order = torch.randperm(count, generator=rng)
        for start in range(0, count - recipe.batch_size + 1, recipe.batch_size):
            yield order[start : start + recipe.batch_size]


def shifted(images: Tensor, reach: int, rng: torch.Generator) -> Tensor:
    """Move each of uint8 [N, 28, 28] by its own whole-pixel offset, -reach..reach each way, filling with black."""
    if reach == 0:
        return images
    count, height, width = images.shape
    padded = functional.pad(images, (reach,) * 4)
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)  # [N, 2 reach + 1, 2 reach + 1, H, W], a view
    down, right = torch.randint(2 * reach + 1, (2, count), generator=rng)
    return windows[torch.arange(count), down, right]


@torch.inference_mode()
def predict(network: DigitNetwork, images: Tensor, batch_size: int = 500) -> Tensor:
    """The most likely class of each of uint8 [N, 28, 28]: int64 [N]."""
    return torch.cat([network(part).argmax(1) for part in images.split(batch_size)])


def accuracy(network: DigitNetwork, images: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of uint8 [N, 28, 28] that the network assigns to their labels, uint8 [N]; 0..1."""
    return float((predict(network, torch.from_numpy(images)).numpy() == labels).mean())
