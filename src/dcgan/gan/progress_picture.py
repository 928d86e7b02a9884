"""A picture that grows while a training runs: each column shows the same ten latents, later than the one before."""

import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch

from dcgan.constants import CLASSES
from dcgan.gan.networks import Generator
from dcgan.gan.sampling import to_uint8
from dcgan.images import grid, png
from dcgan.support.files import write_atomic

COLUMN_EVERY_S = 10.0
MAX_COLUMNS = 40


class ProgressPicture:
    """Drawn by the clock, so that any training shows its first digits within a minute; no part of its result."""

    def __init__(self, path: Path, latents: torch.Tensor, labels: torch.Tensor) -> None:
        """`latents` (N, latent_size) and `labels` (N,), a row of equally many per digit; the first of each is shown."""
        self.path, self.latents, self.labels = path, latents, labels
        self.columns: list[np.ndarray] = []  # uint8 (10, 28, 28)
        self.every, self.due = COLUMN_EVERY_S, time.monotonic()

    def draw_if_due(self, generator: Generator) -> None:
        """Add a column and write the file, if it is time; takes about as long as a training step."""
        if time.monotonic() < self.due:
            return
        if not self.columns:
            print(f"the digits as they grow: {self.path.resolve()}", file=sys.stderr)
        self.columns.append(_first_of_each_digit(generator, self.latents, self.labels))
        if len(self.columns) > MAX_COLUMNS:
            self.columns, self.every = self.columns[::2], 2 * self.every
        write_atomic(self.path, png(grid(np.stack(self.columns, 1).reshape(-1, 28, 28), len(self.columns))))
        self.due = time.monotonic() + self.every


@torch.no_grad()
def _first_of_each_digit(generator: Generator, latents: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """uint8 (10, 28, 28), with the BatchNorm statistics of this batch: averaged weights have none of their own."""
    images = copy.deepcopy(generator).train()(latents, labels)
    return to_uint8(images[:: len(images) // CLASSES])
