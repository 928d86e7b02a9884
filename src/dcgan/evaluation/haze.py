"""Haze: smudges of near-black beside the stroke, the first thing that tells a generated digit from a real one."""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

INK = 32  # a brighter pixel is a stroke
REACH = 3  # pixels from the stroke that get haze
SMUDGE = 1.5  # standard deviation of the smoothing, in pixels: how large a smudge is


def with_haze(images: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """uint8 [N, 28, 28] with smudges beside the stroke: mostly of about `level` gray levels, at most twice that."""
    field = gaussian_filter(rng.standard_normal(images.shape, dtype=np.float32), (0, SMUDGE, SMUDGE))
    smudges = np.rint(level * (field / field.std()).clip(0, 2)).astype(np.uint8)
    beside = maximum_filter(images > INK, (1, 2 * REACH + 1, 2 * REACH + 1))
    return np.maximum(images, smudges * beside)
