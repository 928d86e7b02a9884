"""The two-sample test and the classification accuracy score on real images, and on corruptions they must expose."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dcgan.evaluation.classifier import Recipe
from dcgan.evaluation.corruptions import CORRUPTIONS
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.metrics import classifier_scores
from dcgan.evaluation.metrics.classifier_scores import TWO_SAMPLE_RECIPE, classification_accuracy, two_sample_accuracy

COUNT = 1000


def corrupted(name: str, digits: Digits) -> Digits:
    (corruption,) = (corruption for corruption in CORRUPTIONS if corruption.name == name)
    return corruption.apply(digits, np.random.default_rng(7))


def two_sample(mnist: tuple[Digits, Digits], corruption: str | None) -> float:
    """Accuracy on 1,000 test images and as many training images, which may be corrupted; as many to learn from."""
    train, test = mnist
    rows = np.random.default_rng(1).permutation(len(train.images))[: 3 * COUNT]
    generated = train.rows(rows[COUNT:])
    if corruption:
        generated = corrupted(corruption, generated)
    images = generated.images[:COUNT], test.images[:COUNT], generated.images[COUNT:]
    return two_sample_accuracy(train.images[rows[:COUNT]], *images, seed=1)


def accuracy_score(mnist: tuple[Digits, Digits], generated: Digits) -> float:
    return classification_accuracy(*generated, *mnist[1].rows(slice(1000)), seed=1)


@pytest.fixture(scope="module")
def accuracy_score_of_real(mnist) -> float:
    return accuracy_score(mnist, mnist[0].rows(slice(2000)))


def test_the_two_sample_test_finds_no_difference_between_real_images(mnist):
    """2,000 held-out images give a standard error of 1.1 %. Overfitting adds to it, as MNIST's two halves differ
    slightly: 44 % to 52 % over six runs."""
    assert two_sample(mnist, None) == pytest.approx(0.5, abs=0.1)


def test_the_two_sample_score_is_the_accuracy_on_real_and_generated_images_together(monkeypatch):
    """A classifier that calls bright images generated: right on one of four real images, and on three generated."""
    calls = []

    def fit(images: torch.Tensor, is_generated: torch.Tensor, recipe: Recipe, **_: object) -> Callable:
        calls.append((images[:, 0, 0].tolist(), is_generated.tolist(), recipe))
        return lambda part: torch.stack([torch.full((len(part),), 100.0), part[:, 0, 0].float()], 1)

    monkeypatch.setattr(classifier_scores, "fit", fit)
    sets = ([1, 2, 3], [4, 5, 6], [99, 101, 101, 101], [101, 101, 101, 99])
    images = (np.array(values, np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2) for values in sets)
    assert two_sample_accuracy(*images, seed=1) == (1 + 3) / 8
    assert calls == [([1, 2, 3, 4, 5, 6], [False] * 3 + [True] * 3, TWO_SAMPLE_RECIPE)]


@pytest.mark.parametrize("name", ["blurred by half a pixel", "noise of 2 gray levels"])
def test_the_two_sample_test_exposes_corruptions_invisible_to_the_eye(name, mnist):
    assert two_sample(mnist, name) > 0.95


@pytest.mark.parametrize("name, drop", [("labels shuffled", 0.3), ("one image per class", 0.2)])
def test_the_accuracy_score_exposes(name, drop, mnist, accuracy_score_of_real):
    """A classifier trained on 2,000 real digits exceeds 85 %; on these it stays at chance, or knows only ten images."""
    assert 0.85 < accuracy_score_of_real < 1
    assert accuracy_score(mnist, corrupted(name, mnist[0].rows(slice(2000)))) < accuracy_score_of_real - drop
