"""Images as arrays: grids, PNG and GIF. The same pixels give the same bytes.

A digit is uint8 (28, 28), white (255) on black (0); labels are 0 to 9.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dcgan.constants import CLASSES

MAGNIFICATION = 2  # in a PNG, each pixel becomes 2x2
GAP = 12  # white pixels between pictures side by side


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 images (N, 28, 28) in rows of `columns`, with one gray pixel between them. N is a multiple of `columns`."""
    rows = len(images) // columns
    tiles = np.pad(images, ((0, 0), (0, 1), (0, 1)), constant_values=64)
    return tiles.reshape(rows, columns, 29, 29).swapaxes(1, 2).reshape(rows * 29, columns * 29)[:-1, :-1]


def digit_grid(images: np.ndarray, labels: np.ndarray | None, columns: int) -> np.ndarray:
    """The first `columns` images of each label, a row per digit; without labels simply the first. No cherry-picking.

    Args:
        images: uint8 (N, 28, 28).
        labels: integers (N,).
    Returns:
        uint8 (10 * columns, 28, 28), black where a label has too few.
    """
    shown = np.zeros((CLASSES, columns, *images.shape[1:]), dtype=np.uint8)
    if labels is None:
        first = images[: CLASSES * columns]
        shown.reshape(-1, *images.shape[1:])[: len(first)] = first
    else:
        for digit in range(CLASSES):
            first = images[labels == digit][:columns]
            shown[digit, : len(first)] = first
    return shown.reshape(-1, *images.shape[1:])


def png(picture: np.ndarray) -> bytes:
    """A uint8 picture (height, width) as PNG, magnified twofold."""
    buffer = io.BytesIO()
    _magnified(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation(pictures: Sequence[np.ndarray], milliseconds: int = 400) -> bytes:
    """uint8 pictures of one size as an endless GIF, not magnified; the last frame is shown four times as long."""
    frames = [Image.fromarray(picture, mode="L").quantize(32) for picture in pictures]
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 pictures (H, W) of equal height next to each other, with a white gap in between."""
    gap = np.full((len(pictures[0]), GAP), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.hstack(parts[1:])


def _magnified(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture.repeat(MAGNIFICATION, 0).repeat(MAGNIFICATION, 1), mode="L")
