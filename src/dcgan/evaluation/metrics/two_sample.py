"""Classifier two-sample tests (Lopez-Paz and Oquab 2017, arXiv:1610.06545): can a classifier tell generated from real?

Each test looks at the digits in its own way. Its classifier also has to recognize real digits with a little haze: one
that failed to train would otherwise read as a perfect generator, and is replaced by one of another seed.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcgan.evaluation.classifier import Recipe, fit
from dcgan.evaluation.haze import with_haze
from dcgan.support.errors import UserError

ATTEMPTS = 4  # seeds to try until a classifier learns
CONTROL_HAZE = 8  # gray levels, see `with_haze`
REAL_PER_CONTROL = 4  # real images for each control image
LEARNED = 0.9  # accuracy on the control from which a classifier counts
MIN_IMAGES = 5000  # with fewer, learning cannot be expected, and is not demanded

REAL, GENERATED, HAZY = range(3)
EYE_STEP = 16  # gray levels


def as_is(images: np.ndarray) -> np.ndarray:
    return images


def halved(images: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels, rounded: uint8 [N, 28, 28] -> uint8 [N, 14, 14]."""
    count, height, width = images.shape
    sums = images.reshape(count, height // 2, 2, width // 2, 2).sum((2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def as_seen(images: np.ndarray) -> np.ndarray:
    """Gray levels as coarse as the eye: uint8 rounded to multiples of 16, 256 stored as 255.

    White of 253 and of 255 become one level, and so do all levels below 8; haze of 8 levels remains.
    """
    steps = (images.astype(np.uint16) + EYE_STEP // 2) // EYE_STEP
    return (steps * EYE_STEP).clip(max=255).astype(np.uint8)


@dataclass(frozen=True)
class TwoSampleTest:
    """How a test looks at the digits."""

    view: Callable[[np.ndarray], np.ndarray]  # uint8 [N, 28, 28] -> uint8 [N, side, side]
    side: int
    magnified: bool  # as in `Classifier`


# A learning rate of 0.003 made one fit in several fail, and read as chance level.
RECIPE = Recipe(epochs=4, learning_rate=0.002, weight_decay=0.01)
TESTS = {  # the longest first
    "two_sample_28": TwoSampleTest(as_is, 28, magnified=True),
    "two_sample_eye": TwoSampleTest(as_seen, 28, magnified=False),
    "two_sample_plain": TwoSampleTest(as_is, 28, magnified=False),
    "two_sample_14": TwoSampleTest(halved, 14, magnified=True),
}


class Classifier(nn.Module):
    """Three 3x3 convolutions (16, 32, 64) with max-pooling and BatchNorm, and a dense layer of 128.

    Pooling comes before BatchNorm, which costs half the time; twice the channels cost as much again and tell no more in
    the same time. Leaky ReLUs, since a layer of dead ReLUs is how training failed. It takes images as they are stored,
    uint8 [N, side, side].

    Args:
        side: 28 or 14.
        magnified: adds two input planes, the darkest and the brightest 16 gray levels stretched over [-1, 1]. Most of
            a digit's pixels lie there, and a difference of two levels would be lost in the first BatchNorm.
    """

    def __init__(self, side: int, magnified: bool) -> None:
        super().__init__()
        self.magnified = magnified
        channels = (3 if magnified else 1, 16, 32, 64)
        blocks = [_block(*pair) for pair in pairwise(channels)]
        self.body = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * (side // 8) ** 2, 128), nn.LeakyReLU(0.1))
        self.head = nn.Linear(128, 3)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, side, side] -> logits [N, 3]: real, generated, real with haze."""
        planes = images[:, None].float() / 127.5 - 1
        if self.magnified:
            ends = [images[:, None].clamp(max=16), images[:, None].clamp(min=239) - 239]
            planes = torch.cat([planes, *(end.float() / 8 - 1 for end in ends)], 1)
        return self.head(self.body(planes))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


@dataclass(frozen=True)
class Images:
    """What the tests compare: uint8 [N, 28, 28] to learn from, and uint8 [M, 28, 28] held out, none of them in both."""

    real: np.ndarray
    generated: np.ndarray
    held_out_real: np.ndarray
    held_out_generated: np.ndarray


def two_sample_accuracy(images: Images, test: TwoSampleTest, *, seed: int) -> float:
    """Accuracy on the held-out images of the first classifier that learned, 0..1.

    0.5: indistinguishable; 1: always recognized.

    Args:
        images: as many real as generated ones, to learn from and held out.
        seed: of the first classifier; the next ones have the numbers after it.

    Raises:
        UserError: no classifier learned to recognize the control.
    """
    viewed = _viewed(images, test, np.random.default_rng(seed))
    controls = []
    for attempt in range(ATTEMPTS):
        accuracy, control = _accuracies(viewed, test, seed + attempt)
        if control >= LEARNED or len(images.real) < MIN_IMAGES:
            return accuracy
        controls.append(control)
    raise UserError(
        f"none of {ATTEMPTS} classifiers of the two-sample test learned to recognize haze of {CONTROL_HAZE} gray "
        f"levels: at best {max(controls):.1%} of the control images were classified correctly, {LEARNED:.0%} are "
        "needed; choose another evaluate.seed"
    )


def two_sample_protocol() -> dict[str, Any]:
    """What an accuracy depends on besides the images and the seed."""
    control = {"haze": CONTROL_HAZE, "real_per_control": REAL_PER_CONTROL, "learned": LEARNED}
    tests = {key: {"side": test.side, "magnified": test.magnified} for key, test in TESTS.items()}
    return {**asdict(RECIPE), "control": control, "tests": tests}


@dataclass(frozen=True)
class _Viewed:
    """Images as a test sees them: to learn from, with their class, and held out, of each class."""

    learned: Tensor  # uint8 [L, side, side]
    classes: Tensor  # int64 [L]
    held_out: tuple[Tensor, Tensor, Tensor]  # uint8 [M, side, side] real and generated, [M / 4, side, side] with haze


def _viewed(images: Images, test: TwoSampleTest, rng: np.random.Generator) -> _Viewed:
    def control(real: np.ndarray) -> np.ndarray:
        return with_haze(real[: max(1, len(real) // REAL_PER_CONTROL)], CONTROL_HAZE, rng)

    def view(sets: tuple[np.ndarray, ...]) -> list[Tensor]:
        return [torch.from_numpy(test.view(part)) for part in sets]

    learned = view((images.real, images.generated, control(images.real)))
    held_out = view((images.held_out_real, images.held_out_generated, control(images.held_out_real)))
    classes = torch.arange(3).repeat_interleave(torch.tensor([len(part) for part in learned]))
    return _Viewed(torch.cat(learned), classes, tuple(held_out))


def _accuracies(viewed: _Viewed, test: TwoSampleTest, seed: int) -> tuple[float, float]:
    """Of a new classifier: on real and generated images, and on real ones with and without haze."""
    build = partial(Classifier, test.side, test.magnified)
    classifier = fit(viewed.learned, viewed.classes, RECIPE, seed=seed, title="two-sample test", build=build)
    real, generated, hazy = (_logits(classifier, part) for part in viewed.held_out)

    def accuracy(kind: int, logits: Tensor, real: Tensor) -> float:
        right = torch.cat([real[:, REAL] >= real[:, kind], logits[:, kind] > logits[:, REAL]])
        return float(right.double().mean())

    return accuracy(GENERATED, generated, real), accuracy(HAZY, hazy, real[: len(hazy)])


@torch.inference_mode()
def _logits(classifier: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    return torch.cat([classifier(part) for part in images.split(batch_size)])
