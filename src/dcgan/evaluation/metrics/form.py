"""Form and tone: what MNIST's own preprocessing gives every digit, and an eye misses when a generator does not.

MNIST's digits were scaled so that the longer side of the bounding box is 20 pixels, and moved by whole pixels until the
center of mass is nearest to (14, 14) (LeCun et al. 1998). Strokes are flat inside, have gray levels only along their
edges, and the background is exactly black.

All functions take uint8 [N, 28, 28].
"""

import numpy as np
from scipy import ndimage

INK = 64  # a brighter pixel belongs to the bounding box
BOX_SIDE = 20
CENTER = 14
CENTER_TOLERANCE = 0.55  # half a pixel, since the shift was by whole pixels, and rounding; holds for all of MNIST
PART_INK = 32  # a brighter pixel belongs to a connected part of the digit
NEAR_BLACK = 16  # the brightest level that counts as near-black
BRIGHT = 200  # a brighter pixel is the inside of a stroke
HIGH_FREQUENCY = 14  # cycles per image, radially: finer than stripes one pixel wide
CHUNK = 1000  # images whose spectra are in memory at once: 6 MB each


def form_scores(images: np.ndarray, test_images: np.ndarray) -> dict[str, float]:
    """Every score of this module, of `images` compared with `test_images`."""
    return {
        "box_20": box_fraction(images),
        "centered": centered_fraction(images),
        "stray_parts": stray_part_fraction(images),
        "gray_distance": gray_distance(images, test_images),
        "near_black": near_black_fraction(images),
        "flat_strokes": flat_stroke_fraction(images),
        "high_frequencies": high_frequency_power(images) / high_frequency_power(test_images),
    }


def box_fraction(images: np.ndarray) -> float:
    """Fraction of images whose bounding box of ink has a longer side of exactly 20 pixels."""
    ink = images > INK
    return float((np.maximum(_extent(ink.any(2)), _extent(ink.any(1))) == BOX_SIDE).mean())


def _extent(occupied: np.ndarray) -> np.ndarray:
    """From the first to the last True in each row of bool [N, 28]: integers [N], 0 where there is none."""
    length = occupied.shape[1] - occupied.argmax(1) - occupied[:, ::-1].argmax(1)
    return np.where(occupied.any(1), length, 0)


def centered_fraction(images: np.ndarray) -> float:
    """Fraction of images whose center of mass is within half a pixel of (14, 14), in rows and in columns.

    Coordinates are those of pixel indices, 0..27. An empty image is not centered.
    """
    mass = images.sum((1, 2), dtype=np.int64)
    positions = np.arange(images.shape[1])
    moments = np.stack([images.sum(axis, dtype=np.int64) @ positions for axis in (1, 2)])
    offset = np.abs(moments - CENTER * mass)
    return float(((offset <= CENTER_TOLERANCE * mass) & (mass > 0)).all(0).mean())


def stray_part_fraction(images: np.ndarray) -> float:
    """Fraction of images with more than one part: 8-connected pixels above level 32."""
    connected = np.zeros((3, 3, 3), dtype=bool)
    connected[1] = True  # within an image, not from one image to the next
    parts, _ = ndimage.label(images > PART_INK, connected)
    image_of_part = [first.start for first, _, _ in ndimage.find_objects(parts)]
    return float((np.bincount(image_of_part, minlength=len(images)) > 1).mean())


def gray_distance(images: np.ndarray, test_images: np.ndarray) -> float:
    """Total variation distance between the frequencies of the 256 gray levels, 0..1.

    0.05: one pixel in 20 would have to change its level. An earth mover's distance would mostly measure how much ink
    there is, which differs by half a level between MNIST's training and test set.
    """
    return float(np.abs(_gray_frequencies(images) - _gray_frequencies(test_images)).sum() / 2)


def _gray_frequencies(images: np.ndarray) -> np.ndarray:
    return np.bincount(images.ravel(), minlength=256) / images.size


def near_black_fraction(images: np.ndarray) -> float:
    """Fraction of pixels with a level of 1 to 16: haze, where real digits are black."""
    return float(((images >= 1) & (images <= NEAR_BLACK)).mean())


def flat_stroke_fraction(images: np.ndarray) -> float:
    """Fraction of the pixels above level 200 that have the commonest such level of their image.

    The mean over images; those without such pixels are left out, and without any image left the fraction is 0.
    """
    image, *pixel = np.nonzero(images > BRIGHT)
    levels = images[image, *pixel]
    counts = np.bincount(image * 256 + levels, minlength=256 * len(images)).reshape(-1, 256)
    bright = counts.sum(1)
    some = bright > 0
    return float((counts[some].max(1) / bright[some]).mean()) if some.any() else 0.0


def high_frequency_power(images: np.ndarray) -> float:
    """Mean power of the Fourier spectrum from 14 cycles per image on."""
    cycles = np.fft.fftfreq(28, 1 / 28)
    chosen = np.hypot(*np.meshgrid(cycles, cycles)) >= HIGH_FREQUENCY
    parts = np.split(images, range(CHUNK, len(images), CHUNK))
    power = sum(np.square(np.abs(np.fft.fft2(part)[:, chosen])).sum() for part in parts)
    return float(power / (len(images) * chosen.sum()))
