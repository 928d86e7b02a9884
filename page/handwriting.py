"""Directions in the latent space along which slant, boldness and width of the handwriting change.

The three are measured on generated digits as image moments and regressed on the latents, label by label.
"""

import numpy as np
import torch

from dcgan.constants import CLASSES
from dcgan.gan.networks import Generator
from dcgan.gan.sampling import generate, latents

QUALITIES = ("slant", "boldness", "width")
DIGITS_PER_LABEL = 600
SEED = 0
# Keeps directions short where two qualities are nearly one, as boldness and width of a 1: digits fall apart far out.
RIDGE = 0.2


def find_directions(generator: Generator) -> dict[str, list[list[float]]]:
    """For each of `QUALITIES` and each label the change of the latent's values after the selectors that raises it by
    about one standard deviation and leaves the other two as they are.

    Returns:
        quality -> (10, latent_size - selectors), rounded to thousandths.
    """
    z = latents(CLASSES * DIGITS_PER_LABEL, generator.arguments["latent_size"], SEED)
    labels = torch.arange(CLASSES).repeat_interleave(DIGITS_PER_LABEL)
    measured = measure(generate(generator, z, labels))
    inputs = z[:, generator.selectors :].double().numpy().reshape(CLASSES, DIGITS_PER_LABEL, -1)
    found = [_directions(x, y) for x, y in zip(inputs, measured.reshape(CLASSES, DIGITS_PER_LABEL, -1), strict=True)]
    return {name: [row[i].round(3).tolist() for row in found] for i, name in enumerate(QUALITIES)}


def _directions(z: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(3, M) from latents (N, M) and measurements (N, 3) of one label."""
    z = z - z.mean(axis=0)
    standardized = (measured - measured.mean(axis=0)) / measured.std(axis=0)
    slopes = np.linalg.lstsq(z, standardized, rcond=None)[0]  # (M, 3)
    return np.linalg.solve(slopes.T @ slopes + RIDGE * np.eye(len(QUALITIES)), slopes.T)


def measure(images: np.ndarray) -> np.ndarray:
    """Slant, boldness and width of digits, uint8 (N, 28, 28), as float64 (N, 3).

    Slant is the shear that would make the digit upright: columns to the right per row upward. Boldness is the mean
    width of the strokes in pixels: twice the ink over the length of its edges. Width is the spread of the upright
    digit's columns over that of its rows.
    """
    ink = images / 255
    row, column = np.mgrid[:28, :28]
    mass = ink.sum(axis=(1, 2))
    down = row - (ink * row).sum(axis=(1, 2), keepdims=True) / mass[:, None, None]
    right = column - (ink * column).sum(axis=(1, 2), keepdims=True) / mass[:, None, None]
    rows, mixed, columns = ((ink * product).sum(axis=(1, 2)) / mass for product in (down**2, down * right, right**2))
    edges = sum(np.abs(np.diff(ink, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return np.stack([-mixed / rows, 2 * mass / edges, np.sqrt((columns - mixed**2 / rows) / rows)], axis=1)
