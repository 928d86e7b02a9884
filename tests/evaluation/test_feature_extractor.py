import json
import shutil

import numpy as np
import pytest
import torch

from dcgan.commands import feature_extractor as command
from dcgan.data.mnist import load_split
from dcgan.evaluation.classifier import DigitNetwork
from dcgan.evaluation.feature_extractor import (
    LARGEST_ACCURACY_GAP,
    LEAST_TEST_ACCURACY,
    RECORD,
    WEIGHTS,
    accuracy,
    load_feature_extractor,
    save_feature_extractor,
)
from dcgan.support.errors import UserError
from dcgan.support.files import sha256


def test_the_committed_ruler_is_as_good_as_its_record_says(mnist_dir):
    extractor = load_feature_extractor()
    record = extractor.metadata
    assert record["test_accuracy"] >= LEAST_TEST_ACCURACY
    assert record["train_accuracy"] - record["test_accuracy"] <= LARGEST_ACCURACY_GAP
    # one image more or less where another processor rounds otherwise
    assert accuracy(extractor.network, *load_split(mnist_dir, "test")) == pytest.approx(
        record["test_accuracy"], abs=2e-4
    )
    assert WEIGHTS.stat().st_size < 600_000


def test_features_are_float64_and_finite_and_the_network_is_frozen():
    extractor = load_feature_extractor()
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    features = extractor.features(images)
    assert features.shape == (7, 128) and features.dtype == torch.float64
    assert torch.isfinite(features).all() and (features >= 0).all()
    assert not extractor.network.training and not any(weight.requires_grad for weight in extractor.network.parameters())
    assert torch.allclose(extractor.features(images[:1]), features[:1], rtol=1e-4, atol=1e-4)


def test_altered_weights_are_refused(tmp_path):
    weights = tmp_path / "weights"
    shutil.copy(WEIGHTS, weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"its record .* says .*git checkout"):
        load_feature_extractor(weights, RECORD)


def test_a_missing_ruler_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing"):
        load_feature_extractor(tmp_path / "nothing", RECORD)
    with pytest.raises(UserError, match=r"cannot read .*nothing"):
        load_feature_extractor(WEIGHTS, tmp_path / "nothing")


def test_a_network_that_reads_badly_does_not_become_a_ruler(tmp_path, mnist_dir):
    split = tuple(part[:500] for part in load_split(mnist_dir, "test"))
    with pytest.raises(UserError, match="nothing was written"):
        save_feature_extractor(DigitNetwork().eval(), split, split, tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_saving_rounds_and_reads_back_what_it_measured(tmp_path, mnist_dir):
    split = tuple(part[:500] for part in load_split(mnist_dir, "test"))
    original = load_feature_extractor()
    saved = save_feature_extractor(original.network, split, split, tmp_path / "weights")
    assert saved.hash == sha256(tmp_path / "weights") == original.hash  # already rounded: not one byte differs
    (tmp_path / "record").write_text(json.dumps(saved.record))
    again = load_feature_extractor(tmp_path / "weights", tmp_path / "record")
    assert torch.equal(again.features(split[0]), original.features(split[0]))


def test_the_command_does_not_replace_a_ruler_by_accident(mnist_dir, monkeypatch):
    monkeypatch.setattr(command, "DATA", mnist_dir)
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    before = sha256(WEIGHTS)
    with pytest.raises(UserError, match=r"exists.*incomparable.*--replace"):
        command.run(parser.parse_args([]))
    assert sha256(WEIGHTS) == before
