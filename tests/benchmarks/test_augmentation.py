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
    errors = augmentation.one_seed(train, test.rows(slice(200)), load_params(ROOT / "params.yaml"), 100, 1, 640)
    assert errors.shape == (2, 2) and ((errors > 0.05) & (errors <= 1)).all()  # 600 images cannot teach much


def test_spread_is_mean_and_standard_deviation_over_seeds():
    assert augmentation.spread(np.array([1.0, 3.0])) == "2.00 ± 1.41"
    assert augmentation.spread(np.array([1.0]), "+") == "+1.00"
