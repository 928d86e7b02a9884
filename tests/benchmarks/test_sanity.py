"""The table of corruptions in docs/scores.md: its markers, its alarms, the samples it is made of."""

import numpy as np
from scripts import ROOT, load_benchmark

from dcgan.data.mnist import load_split
from dcgan.evaluation.corruptions import CORRUPTIONS
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.report import between_markers

sanity = load_benchmark("sanity")


def test_the_document_has_the_table_with_every_column_and_row():
    text = (ROOT / "docs" / "scores.md").read_text()
    without = between_markers(text, sanity.MARKER, "")
    assert sanity.table({}).splitlines()[0] in text and sanity.table({}).splitlines()[0] not in without
    assert all(f"\n| {corruption.name} |" in text for corruption in CORRUPTIONS)


def test_alarms_are_bold():
    real = {"recall": 0.9, "copied": 0.01}
    bad = {"recall": 0.1, "copied": 0.01, "recall_real": 0.9, "copied_real": 0.01}
    header, _, first, second = sanity.table({"real": real, "bad": bad}).splitlines()
    assert header.count("|") == first.count("|") == second.count("|")
    assert "**" not in first and "| **0.100** |" in second and "| 1.00% |" in second


def test_samples_start_with_the_class_counts_of_the_test_set(mnist_dir):
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    digits = sanity.reordered(train, test)
    assert len(digits.images) == 60_000
    assert (np.bincount(digits.labels[:10_000]) == np.bincount(test.labels)).all()
    assert (np.bincount(digits.labels) == np.bincount(train.labels)).all()
