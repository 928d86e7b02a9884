"""The augmentation benchmark of docs/scores.md: the whole experiment on a few images, and its table."""

import numpy as np
from scripts import ROOT, load_benchmark

from dcgan.data.mnist import load_split
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.report import between_markers
from dcgan.params import load_params

augmentation = load_benchmark("augmentation")


def test_the_document_has_the_markers():
    between_markers((ROOT / "docs" / "scores.md").read_text(), augmentation.MARKER, "")


def test_the_experiment_gives_four_errors(mnist_dir, monkeypatch):
    monkeypatch.setattr(augmentation, "GENERATED", 300)
    monkeypatch.setattr(augmentation, "TRAINED_ON", 600)
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    params = load_params(ROOT / "params.yaml")
    settings = params.train.model_copy(update={"images": 640})
    known = augmentation.real_digits(train, 10, 1)
    assert (np.bincount(known.labels) == 10).all()
    errors = augmentation.one_seed(known, test.rows(slice(200)), params.model, settings)
    assert errors.shape == (2, 2) and ((errors > 0.05) & (errors <= 1)).all()  # 600 images cannot teach much


def test_the_same_seed_selects_the_same_digits_and_fewer_of_them_are_among_more(mnist_dir):
    train = Digits(*load_split(mnist_dir, "train"))
    few, more, others = (augmentation.real_digits(train, n, seed) for n, seed in ((2, 1), (5, 1), (2, 2)))
    assert {image.tobytes() for image in few.images} <= {image.tobytes() for image in more.images}
    assert (few.images != others.images).any()


def test_the_table_compares_the_classifiers_of_each_seed():
    errors = np.array([[[[0.10, 0.09], [0.05, 0.05]]], [[[0.12, 0.10], [0.05, 0.07]]]])
    rows = augmentation.table([10], errors, 1_000).splitlines()[-2:]
    assert rows == [
        "| 10 | none | 11.00 ± 1.41 | 9.50 ± 0.71 | -1.50 ± 0.71 |",
        "| 10 | shifts | 5.00 ± 0.00 | 6.00 ± 1.41 | +1.00 ± 1.41 |",
    ]


def test_spread_is_mean_and_standard_deviation_over_seeds():
    assert augmentation.spread(np.array([1.0, 3.0])) == "2.00 ± 1.41"
    assert augmentation.spread(np.array([1.0]), "+") == "+1.00"
