"""Images as arrays: grids, PNG and GIF. The same numbers give the same bytes.

A digit is uint8 (28, 28), 0 black paper to 255 white ink; labels are 0 to 9.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dcgan.constants import CLASSES

MAGNIFICATION = 2  # screen pixels a side for each of the image's
GAP = 12  # white pixels between two pictures


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 images (N, 28, 28), N a multiple of `columns`, as one picture with a pixel between; row by row."""
    rows = len(images) // columns
    tiles = np.pad(images, ((0, 0), (0, 1), (0, 1)), constant_values=64)
    return tiles.reshape(rows, columns, 29, 29).swapaxes(1, 2).reshape(rows * 29, columns * 29)[:-1, :-1]


def digit_grid(images: np.ndarray, labels: np.ndarray | None, columns: int) -> np.ndarray:
    """The first `columns` images of each label, a row a digit; without labels simply the first. None is picked.

    Args:
        images: uint8 (N, 28, 28).
        labels: integers (N,).
    Returns:
        uint8 (10 * columns, 28, 28), black where there are too few.
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
    """A uint8 picture (height, width) as PNG, magnified."""
    buffer = io.BytesIO()
    _magnified(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation(pictures: Sequence[np.ndarray], milliseconds: int = 400) -> bytes:
    """uint8 pictures of one size as a GIF that repeats, unmagnified; the last one stays four times as long."""
    frames = [Image.fromarray(picture, mode="L").quantize(32) for picture in pictures]
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def _magnified(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture.repeat(MAGNIFICATION, 0).repeat(MAGNIFICATION, 1), mode="L")


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 pictures of one height (H, W) next to each other, with a white gap between."""
    gap = np.full((len(pictures[0]), GAP), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.hstack(parts[1:])
