"""Pictures of digits, read back."""

from pathlib import Path

import numpy as np
from PIL import Image

from dcgan.images import GAP, MAGNIFICATION


def read_png(path: str | Path) -> np.ndarray:
    """The picture that `dcgan.images.png` wrote: uint8 [H, W]."""
    with Image.open(path) as picture:
        return np.asarray(picture)[::MAGNIFICATION, ::MAGNIFICATION]


def digits_of(picture: np.ndarray) -> np.ndarray:
    """The digits in a grid: uint8 [rows, columns, 28, 28]."""
    padded = np.pad(picture, ((0, 1), (0, 1)))
    rows, columns = (size // 29 for size in padded.shape)
    return padded.reshape(rows, 29, columns, 29).swapaxes(1, 2)[:, :, :28, :28]


def parts_of(picture: np.ndarray, parts: int) -> list[np.ndarray]:
    """The digits of each of `parts` grids of equal size that stand side by side."""
    width = (picture.shape[1] - GAP * (parts - 1)) // parts
    starts = [part * (width + GAP) for part in range(parts)]
    return [digits_of(picture[:, start : start + width]) for start in starts]
