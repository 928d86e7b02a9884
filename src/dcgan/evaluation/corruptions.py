"""Broken generators, imitated by corrupting real images, and the scores that must expose each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, maximum_filter, shift

from dcgan.constants import CLASSES
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.haze import INK, with_haze
from dcgan.scores import SCORES

ALARMS = {score.key: score for score in SCORES if score.alarm is not None}


@dataclass(frozen=True)
class Corruption:
    name: str
    apply: Callable[[Digits, np.random.Generator], Digits]  # real digits -> what the broken generator would produce
    exposed_by: tuple[str, ...]  # keys of the scores that must raise an alarm


def raised_alarms(scores: Mapping[str, float]) -> list[str]:
    """Keys of the scores that raise an alarm, among those with `<key>_real` beside them, as `evaluate` returns them."""
    return [
        key
        for key, score in ALARMS.items()
        if f"{key}_real" in scores and score.raises_alarm(scores[key], scores[f"{key}_real"])
    ]


def _per_pixel(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """Change float images and round them back to bytes, like a generator's output."""

    def apply(digits: Digits, rng: np.random.Generator) -> Digits:
        changed = np.rint(change(digits.images.astype(np.float32), rng))
        return Digits(np.clip(changed, 0, 255).astype(np.uint8), digits.labels)

    return apply


def _blur(sigma: float) -> Callable:
    return _per_pixel(lambda images, _: gaussian_filter(images, (0, sigma, sigma)))


def _noise(sigma: float) -> Callable:
    return _per_pixel(lambda images, rng: images + rng.normal(0, sigma, images.shape))


def _haze(level: float) -> Callable:
    return lambda digits, rng: Digits(with_haze(digits.images, level, rng), digits.labels)


def _specks(digits: Digits, rng: np.random.Generator) -> Digits:
    """One digit in ten gets a gray speck of 1x2 pixels, two to four pixels from its stroke."""
    images = digits.images.copy()
    rows = np.flatnonzero(rng.random(len(images)) < 0.1)
    ink = images[rows] > INK
    allowed = maximum_filter(ink, (1, 9, 9)) & ~maximum_filter(ink, (1, 5, 7))
    allowed[:, :, -1] = False
    spots = np.where(allowed, rng.random(allowed.shape), -1).reshape(len(rows), -1).argmax(1)
    down, right = np.divmod(spots, 28)
    images[rows, down, right] = images[rows, down, right + 1] = 100
    return Digits(images, digits.labels)


def _jitter(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    offsets = rng.uniform(-0.5, 0.5, (len(images), 2))
    return np.stack([shift(image, offset, order=1) for image, offset in zip(images, offsets, strict=True)])


def _shrink(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """About the center, from 20 pixels to 18, with linear interpolation."""
    scale = 20 / 18
    matrix, offset = np.diag([1, scale, scale]), [0, 14 - 14 * scale, 14 - 14 * scale]
    return affine_transform(images, matrix, offset, order=1)


def _whiten(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Each digit's strokes get 255 in place of their own white, mostly 252 to 254."""
    levels = [np.bincount(image[image > 200].astype(np.uint8), minlength=256).argmax() for image in images]
    return images * (255 / np.maximum(levels, 201))[:, None, None]


def _shift(digits: Digits, _: np.random.Generator) -> Digits:
    return Digits(np.roll(digits.images, 3, axis=2), digits.labels)  # MNIST has 4 empty columns at the edge


def _drop_half_of_the_classes(digits: Digits, rng: np.random.Generator) -> Digits:
    kept = digits.images[digits.labels < CLASSES // 2]
    return Digits(kept[rng.integers(len(kept), size=len(digits.images))], None)


def _repeat_one_image_per_class(digits: Digits, _: np.random.Generator) -> Digits:
    prototypes = np.stack([digits.images[digits.labels == label][0] for label in range(CLASSES)])
    return Digits(prototypes[digits.labels], digits.labels)


def _shuffle_labels(digits: Digits, rng: np.random.Generator) -> Digits:
    return Digits(digits.images, rng.permutation(digits.labels))


def _copy(digits: Digits, _: np.random.Generator) -> Digits:
    return digits


CORRUPTIONS = (
    Corruption("white of 255", _per_pixel(_whiten), ("two_sample_28", "two_sample_14")),
    Corruption("haze of 2 gray levels", _haze(2), ("near_black", "gray_distance", "two_sample_28", "two_sample_14")),
    Corruption(
        "haze of 8 gray levels",
        _haze(8),
        ("near_black", "gray_distance", "two_sample_eye", "two_sample_plain", "two_sample_28", "two_sample_14"),
    ),
    Corruption("specks in one digit of ten", _specks, ("stray_parts",)),
    Corruption("moved by up to half a pixel", _per_pixel(_jitter), ("centered", "high_frequencies")),
    Corruption("one tenth too small", _per_pixel(_shrink), ("box_20", "high_frequencies")),
    Corruption(
        "blurred by half a pixel", _blur(0.5), ("recall", "two_sample_28", "high_frequencies", "two_sample_eye")
    ),
    Corruption("blurred by one pixel", _blur(1.0), ("relative_fid", "recall", "coverage", "two_sample_28")),
    Corruption("noise of 2 gray levels", _noise(2), ("two_sample_28", "flat_strokes", "gray_distance")),
    Corruption(
        "noise of 40 gray levels",
        _noise(40),
        ("relative_fid", "kid_x1000", "precision", "density", "two_sample_28"),
    ),
    Corruption("shifted by 3 pixels", _shift, ("relative_fid", "kid_x1000", "precision", "density", "centered")),
    Corruption(
        "five classes missing", _drop_half_of_the_classes, ("relative_fid", "recall", "coverage", "class_balance")
    ),
    Corruption("one image per class", _repeat_one_image_per_class, ("relative_fid", "recall", "coverage", "cas")),
    Corruption("labels shuffled", _shuffle_labels, ("label_accuracy", "cas")),
    Corruption("copies of the training set", _copy, ("copied",)),
)
