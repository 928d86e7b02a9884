"""The commands that make the tables of docs/scores.md, at sizes that say nothing but run all of their code, and speed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcgan.data.mnist import load_split
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.report import between_markers
from dcgan.params import load_params
from dcgan.support.errors import UserError

ROOT = Path(__file__).parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_speed_benchmark_without_data_is_one_line_and_code_2(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    command = [sys.executable, str(ROOT / "benchmarks/speed.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "train-images-idx3-ubyte is missing; run `dvc repro download`" in done.stderr


def test_a_table_replaces_the_one_between_its_markers():
    text = "a\n<!-- t -->\nold\n<!-- end of t -->\nb\n"
    assert between_markers(text, "t", "new\n") == "a\n<!-- t -->\nnew\n<!-- end of t -->\nb\n"
    with pytest.raises(UserError, match="no line <!-- other -->"):
        between_markers(text, "other", "new\n")


def test_the_documents_have_the_markers():
    text = (ROOT / "docs" / "scores.md").read_text()
    for name in ("sanity", "augmentation"):
        between_markers(text, load(name).MARKER, "")


def test_alarms_are_bold_in_the_sanity_table():
    sanity = load("sanity")
    real = {"recall": 0.9, "copied": 0.01}
    bad = {"recall": 0.1, "copied": 0.01, "recall_real": 0.9, "copied_real": 0.01, "fid_real": 1.0}
    header, _, first, second = sanity.table({"real": real, "bad": bad}).splitlines()
    assert header.count("|") == first.count("|") == second.count("|")
    assert "**" not in first and "| **0.100** |" in second and "| 1.00% |" in second


def test_samples_of_the_sanity_table_start_with_the_class_counts_of_the_test_set(mnist_dir):
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    digits = load("sanity").reordered(train, test)
    assert len(digits.images) == 60_000
    assert (np.bincount(digits.labels[:10_000]) == np.bincount(test.labels)).all()
    assert (np.bincount(digits.labels) == np.bincount(train.labels)).all()


def test_the_augmentation_experiment_gives_four_errors(mnist_dir, monkeypatch):
    augmentation = load("augmentation")
    monkeypatch.setattr(augmentation, "GENERATED", 300)
    monkeypatch.setattr(augmentation, "SEEN", 600)
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    errors = augmentation.one_seed(train, test.rows(slice(200)), load_params(ROOT / "params.yaml"), 100, 1, 640)
    assert errors.shape == (2, 2) and ((errors > 0.05) & (errors <= 1)).all()  # 600 images teach something at best


def test_spread_is_mean_and_standard_deviation_over_seeds():
    augmentation = load("augmentation")
    assert augmentation.spread(np.array([1.0, 3.0])) == "2.00 ± 1.41"
    assert augmentation.spread(np.array([1.0]), "+") == "+1.00"
