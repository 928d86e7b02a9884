"""Bad generators made of real images, and what counts as exposing one: do the scores see what they should?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from dcgan.evaluation.evaluate import Digits


@dataclass(frozen=True)
class BadGenerator:
    name: str
    spoil: Callable[[Digits, np.random.Generator], Digits]  # real digits -> what it would have generated
    exposed_by: tuple[str, ...]  # scores that must see it


@dataclass(frozen=True)
class Alarm:
    """A score exposes a generator when it is farther than `margin` from its value for real data, on the bad side."""

    better: str  # lower | higher
    margin: float

    def rings(self, value: float, real: float) -> bool:
        return (value - real if self.better == "lower" else real - value) > self.margin


# Each margin is several times what another choice of real images moves the score at 10,000 images.
ALARMS = {
    "relative_fid": Alarm("lower", 0.5),
    "kid_x1000": Alarm("lower", 10.0),
    "precision": Alarm("higher", 0.05),
    "recall": Alarm("higher", 0.05),
    "density": Alarm("higher", 0.05),
    "coverage": Alarm("higher", 0.05),
    "label_accuracy": Alarm("higher", 0.01),
    "class_balance": Alarm("higher", 0.02),
    "two_sample_28": Alarm("lower", 0.03),
    "cas": Alarm("higher", 0.01),
    "copied": Alarm("lower", 0.02),
}


def _per_pixel(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """Change float images and round them back to bytes, as a generator's output is."""

    def spoil(digits: Digits, rng: np.random.Generator) -> Digits:
        changed = np.rint(change(digits.images.astype(np.float32), rng))
        return Digits(np.clip(changed, 0, 255).astype(np.uint8), digits.labels)

    return spoil


def _blurred(sigma: float) -> Callable:
    return _per_pixel(lambda images, _: gaussian_filter(images, (0, sigma, sigma)))


def _noisy(sigma: float) -> Callable:
    return _per_pixel(lambda images, rng: images + rng.normal(0, sigma, images.shape))


def _moved(digits: Digits, _: np.random.Generator) -> Digits:
    return Digits(np.roll(digits.images, 3, axis=2), digits.labels)  # MNIST has 4 empty columns at the edge


def _five_classes(digits: Digits, rng: np.random.Generator) -> Digits:
    kept = digits.images[digits.labels < 5]
    return Digits(kept[rng.integers(len(kept), size=len(digits.images))], None)


def _one_image_a_class(digits: Digits, _: np.random.Generator) -> Digits:
    shown = np.stack([digits.images[digits.labels == digit][0] for digit in range(10)])
    return Digits(shown[digits.labels], digits.labels)


def _labels_shuffled(digits: Digits, rng: np.random.Generator) -> Digits:
    return Digits(digits.images, rng.permutation(digits.labels))


def _handed_back(digits: Digits, _: np.random.Generator) -> Digits:
    return digits


BAD_GENERATORS = (
    BadGenerator("blurred by half a pixel", _blurred(0.5), ("recall", "two_sample_28")),
    BadGenerator("blurred by one pixel", _blurred(1.0), ("relative_fid", "recall", "coverage", "two_sample_28")),
    BadGenerator("noise of 2 grey levels", _noisy(2), ("two_sample_28",)),
    BadGenerator(
        "noise of 40 grey levels",
        _noisy(40),
        ("relative_fid", "kid_x1000", "precision", "density", "two_sample_28"),
    ),
    BadGenerator("moved by 3 pixels", _moved, ("relative_fid", "kid_x1000", "precision", "density")),
    BadGenerator("five classes missing", _five_classes, ("relative_fid", "recall", "coverage", "class_balance")),
    BadGenerator("one image a class", _one_image_a_class, ("relative_fid", "recall", "coverage", "cas")),
    BadGenerator("labels shuffled", _labels_shuffled, ("label_accuracy", "cas")),
    BadGenerator("the training set handed back", _handed_back, ("copied",)),
)
