"""The classification accuracy score on real images, and on corruptions that it must expose."""

import numpy as np
import pytest

from dcgan.evaluation.corruptions import CORRUPTIONS
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.metrics.classifier_scores import classification_accuracy


def corrupted(name: str, digits: Digits) -> Digits:
    (corruption,) = (corruption for corruption in CORRUPTIONS if corruption.name == name)
    return corruption.apply(digits, np.random.default_rng(7))


def accuracy_score(mnist: tuple[Digits, Digits], generated: Digits) -> float:
    return classification_accuracy(*generated, *mnist[1].rows(slice(1000)), seed=1)


@pytest.fixture(scope="module")
def accuracy_score_of_real(mnist) -> float:
    return accuracy_score(mnist, mnist[0].rows(slice(2000)))


@pytest.mark.parametrize("name, drop", [("labels shuffled", 0.3), ("one image per class", 0.2)])
def test_the_accuracy_score_exposes(name, drop, mnist, accuracy_score_of_real):
    """A classifier trained on 2,000 real digits exceeds 85 %; on these it stays at chance, or knows only ten images."""
    assert 0.85 < accuracy_score_of_real < 1
    assert accuracy_score(mnist, corrupted(name, mnist[0].rows(slice(2000)))) < accuracy_score_of_real - drop
