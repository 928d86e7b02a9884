"""Broken generators, imitated by corrupting real images, and the scores that must expose each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from dcgan.constants import CLASSES
from dcgan.evaluation.evaluate import Digits
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
    Corruption("blurred by half a pixel", _blur(0.5), ("recall", "two_sample_28")),
    Corruption("blurred by one pixel", _blur(1.0), ("relative_fid", "recall", "coverage", "two_sample_28")),
    Corruption("noise of 2 gray levels", _noise(2), ("two_sample_28",)),
    Corruption(
        "noise of 40 gray levels",
        _noise(40),
        ("relative_fid", "kid_x1000", "precision", "density", "two_sample_28"),
    ),
    Corruption("shifted by 3 pixels", _shift, ("relative_fid", "kid_x1000", "precision", "density")),
    Corruption(
        "five classes missing", _drop_half_of_the_classes, ("relative_fid", "recall", "coverage", "class_balance")
    ),
    Corruption("one image per class", _repeat_one_image_per_class, ("relative_fid", "recall", "coverage", "cas")),
    Corruption("labels shuffled", _shuffle_labels, ("label_accuracy", "cas")),
    Corruption("copies of the training set", _copy, ("copied",)),
)
