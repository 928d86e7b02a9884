"""Haze: smudges of near-black beside the stroke, the first thing that tells a generated digit from a real one."""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

INK = 32  # a brighter pixel is a stroke
REACH = 3  # pixels from the stroke that get haze
SMUDGE = 1.5  # standard deviation of the smoothing, in pixels: how large a smudge is


def with_haze(images: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """uint8 [N, 28, 28] with smudges that average `level` gray levels beside the stroke; it stays as it is itself."""
    smudges = np.abs(gaussian_filter(rng.standard_normal(images.shape, dtype=np.float32), (0, SMUDGE, SMUDGE)))
    beside = maximum_filter(images > INK, (1, 2 * REACH + 1, 2 * REACH + 1))
    haze = np.rint(smudges * (level / smudges.mean())).clip(0, 255).astype(np.uint8)
    return np.maximum(images, haze * beside)
