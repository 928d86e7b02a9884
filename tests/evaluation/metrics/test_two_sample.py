"""The two-sample tests on real images, on corruptions they must expose or overlook, and with classifiers that fail."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dcgan.evaluation.corruptions import CORRUPTIONS
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.metrics import two_sample
from dcgan.evaluation.metrics.two_sample import (
    ATTEMPTS,
    MIN_IMAGES,
    TESTS,
    Classifier,
    Images,
    as_seen,
    halved,
    two_sample_accuracy,
)
from dcgan.support.errors import UserError


def accuracy(mnist: tuple[Digits, Digits], test: str, corruption: str | None, count: int = 1000) -> float:
    """On `count` test images and as many training images, which may be corrupted."""
    train, test_digits = mnist
    rows = np.random.default_rng(1).permutation(len(train.images))[: 3 * count]
    generated = train.rows(rows[count:])
    if corruption:
        (found,) = (candidate for candidate in CORRUPTIONS if candidate.name == corruption)
        generated = found.apply(generated, np.random.default_rng(7))
    real, held_out_real = train.images[rows[:count]], test_digits.images[:count]
    images = Images(real, generated.images[:count], held_out_real, generated.images[count:])
    return two_sample_accuracy(images, TESTS[test], seed=1)


def test_no_difference_is_found_between_real_images(mnist):
    """2,000 held-out images give a standard error of 1.1 %; overfitting adds to it, as MNIST's halves differ."""
    assert accuracy(mnist, "two_sample_14", None) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "test, corruption",
    [
        ("two_sample_28", "noise of 2 gray levels"),
        ("two_sample_14", "haze of 8 gray levels"),
        ("two_sample_plain", "blurred by half a pixel"),
    ],
)
def test_corruptions_are_exposed(test, corruption, mnist):
    assert accuracy(mnist, test, corruption) > 0.75


@pytest.mark.faults  # with fewer images the classifiers do not learn enough
@pytest.mark.parametrize(
    "test, corruption, seen",
    [
        ("two_sample_eye", "haze of 8 gray levels", True),
        ("two_sample_eye", "white of 255", False),
        ("two_sample_28", "white of 255", True),
    ],
)
def test_the_eye_sees_what_eyes_see_and_nothing_else(test, corruption, seen, mnist):
    found = accuracy(mnist, test, corruption, count=5000)
    assert found > 0.9 if seen else found == pytest.approx(0.5, abs=0.05)


def test_the_eye_sees_17_levels_and_one_white():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    seen = as_seen(levels).ravel()
    assert len(set(seen)) == 17 and (np.diff(seen.astype(int)) >= 0).all()
    assert (seen[:8] == 0).all() and (seen[8:24] == 16).all() and (seen[248:] == 255).all()


def test_halving_takes_means_of_two_by_two_pixels_and_rounds_them():
    images = np.zeros((2, 28, 28), dtype=np.uint8)
    images[1, :2, 2:4] = [[255, 255], [255, 254]]  # mean 254.75
    images[1, 26:, 26:] = [[1, 0], [0, 0]]  # 0.25
    small = halved(images)
    assert small.shape == (2, 14, 14) and small.dtype == np.uint8 and not small[0].any()
    assert small[1, 0, 1] == 255 and small[1].sum(dtype=int) == 255


@pytest.mark.parametrize("side", [14, 28])
def test_only_a_magnified_classifier_sees_the_last_levels_enlarged(side):
    """The first layer's response to black and to level 2 differs by an eighth of the range, or by a hundredth."""
    black, haze = (torch.full((1, side, side), level, dtype=torch.uint8) for level in (0, 2))
    for magnified, planes in ((False, 1), (True, 3)):
        classifier = Classifier(side, magnified).eval()
        assert classifier.body[0][0].weight.shape[1] == planes
        assert classifier(torch.cat([black, haze])).shape == (2, 3)


def flat(levels: list[int]) -> np.ndarray:
    return np.array(levels, np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)


def by_brightness(part: torch.Tensor) -> torch.Tensor:
    """Logits that call images above level 100 generated, and none of them hazy."""
    level = part[:, 0, 0].float()
    return torch.stack([torch.full_like(level, 100.0), level, torch.zeros_like(level)], 1)


def test_the_accuracy_is_that_on_real_and_generated_images_together(monkeypatch):
    """Right on one of four real images, and on three of the generated."""
    calls = []

    def fit(images: torch.Tensor, classes: torch.Tensor, *_, **options: object) -> Callable:
        calls.append((images[:, 0, 0].tolist(), classes.tolist(), options["seed"]))
        return by_brightness

    monkeypatch.setattr(two_sample, "fit", fit)
    images = Images(*map(flat, ([1, 2, 3], [4, 5, 6], [99, 101, 101, 101], [101, 101, 101, 99])))
    assert two_sample_accuracy(images, TESTS["two_sample_28"], seed=1) == (1 + 3) / 8
    ((levels, classes, seed),) = calls
    assert levels[:6] == [1, 2, 3, 4, 5, 6] and classes == [0, 0, 0, 1, 1, 1, 2]  # 2: real with haze
    assert seed == 1


class TestControl:
    """Classifiers of which some recognize neither haze nor anything else."""

    @pytest.fixture
    def images(self, mnist) -> Images:
        small = mnist[0].images[:MIN_IMAGES]
        return Images(small, small // 2, small[:8], small[:8] // 2)

    @pytest.fixture
    def fit(self, monkeypatch):
        """The classifiers of these seeds fail; the others find everything, those of an even seed only half of it."""

        def install(failing: set[int]) -> list[int]:
            seeds = []

            def fit(*_, seed: int, **__) -> Callable:
                seeds.append(seed)
                calls = []

                def logits(part: torch.Tensor) -> torch.Tensor:
                    calls.append(len(part))  # real, generated, and real with haze, in this order
                    kind = 0 if seed in failing else len(calls) - 1
                    found = torch.nn.functional.one_hot(torch.full((len(part),), kind), 3).float()
                    if kind == 1 and seed % 2 == 0:
                        found[::2] = torch.tensor([1.0, 0, 0])
                    return found

                return logits

            monkeypatch.setattr(two_sample, "fit", fit)
            return seeds

        return install

    def test_the_first_that_learned_counts(self, images, fit):
        seeds = fit(failing=set())
        assert two_sample_accuracy(images, TESTS["two_sample_28"], seed=2) == 0.75
        assert seeds == [2]

    def test_one_that_did_not_learn_does_not_count_and_the_next_seed_takes_its_place(self, images, fit):
        seeds = fit(failing={3, 4, 6})
        assert two_sample_accuracy(images, TESTS["two_sample_28"], seed=3) == 1.0
        assert seeds == [3, 4, 5]

    def test_if_none_learns_there_is_no_score(self, images, fit):
        seeds = fit(failing={*range(9)})
        with pytest.raises(UserError, match=r"none of 4 classifiers.*at best 50\.0%.*another evaluate\.seed") as error:
            two_sample_accuracy(images, TESTS["two_sample_28"], seed=2)
        assert len(seeds) == ATTEMPTS and "\n" not in str(error.value)
