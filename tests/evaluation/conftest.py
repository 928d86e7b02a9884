"""Real digits for the tests of the evaluation."""

import pytest

from dcgan.data.mnist import load_split
from dcgan.evaluation.evaluate import Digits, class_matched_rows


@pytest.fixture(scope="session")
def mnist(mnist_dir) -> tuple[Digits, Digits]:
    """Training and test set."""
    return Digits(*load_split(mnist_dir, "train")), Digits(*load_split(mnist_dir, "test"))


@pytest.fixture(scope="session")
def real(mnist) -> Digits:
    """1,000 training images with the class counts of the first 1,000 test images."""
    train, test = mnist
    return train.rows(class_matched_rows(train.labels, test.labels[:1000]))
