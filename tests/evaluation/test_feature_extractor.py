"""The committed feature extractor: its accuracy, its files, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from dcgan.data.mnist import load_split
from dcgan.evaluation.classifier import DigitNetwork, accuracy
from dcgan.evaluation.feature_extractor import (
    MAX_ACCURACY_GAP,
    MIN_TEST_ACCURACY,
    load_feature_extractor,
    save_feature_extractor,
)
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS
from dcgan.support.errors import UserError
from dcgan.support.files import sha256


def test_the_committed_extractor_has_the_accuracy_in_its_metadata(mnist_dir):
    extractor = load_feature_extractor()
    metadata = extractor.metadata
    assert metadata["test_accuracy"] >= MIN_TEST_ACCURACY
    assert metadata["train_accuracy"] - metadata["test_accuracy"] <= MAX_ACCURACY_GAP
    # on another processor one image more or less, from rounding
    assert accuracy(extractor.network, *load_split(mnist_dir, "test")) == pytest.approx(
        metadata["test_accuracy"], abs=2e-4
    )
    assert FEATURE_WEIGHTS.stat().st_size < 600_000


def test_features_are_float64_and_finite_and_the_network_is_frozen():
    extractor = load_feature_extractor()
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    features = extractor.features(images)
    assert features.shape == (7, 128) and features.dtype == torch.float64
    assert torch.isfinite(features).all() and (features >= 0).all()
    assert not extractor.network.training and not any(weight.requires_grad for weight in extractor.network.parameters())
    assert torch.allclose(extractor.features(images[:1]), features[:1], rtol=1e-4, atol=1e-4)


def test_kids_kernel_is_scaled_by_the_mean_squared_length_of_the_training_sets_features(mnist_dir):
    """Of 2,000 images here and of 60,000 in the metadata: the standard error is below 1 %."""
    extractor = load_feature_extractor()
    lengths = extractor.features(load_split(mnist_dir, "train")[0][:2000]).square().sum(1)
    assert extractor.kid_gamma * float(lengths.mean()) == pytest.approx(1, abs=0.03)


def test_altered_weights_are_refused(tmp_path):
    weights = tmp_path / "weights"
    shutil.copy(FEATURE_WEIGHTS, weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"its metadata .* says .*git checkout"):
        load_feature_extractor(weights, FEATURE_METADATA)


@pytest.mark.parametrize("old", [{"sha256": "ab", "class_shares": [], "real_scores": {"agreement": 0.9974}}, []])
def test_metadata_of_another_version_is_refused(old, tmp_path):
    (tmp_path / "metadata").write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"metadata has version None, expected 2.*git checkout") as error:
        load_feature_extractor(FEATURE_WEIGHTS, tmp_path / "metadata")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing"):
        load_feature_extractor(tmp_path / "nothing", FEATURE_METADATA)
    with pytest.raises(UserError, match=r"cannot read .*nothing"):
        load_feature_extractor(FEATURE_WEIGHTS, tmp_path / "nothing")


def test_an_inaccurate_network_does_not_become_a_feature_extractor(tmp_path, mnist_dir):
    split = tuple(part[:500] for part in load_split(mnist_dir, "test"))
    with pytest.raises(UserError, match="nothing was written"):
        save_feature_extractor(DigitNetwork().eval(), split, split, tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_saving_writes_the_rounded_weights_that_were_measured(tmp_path, mnist_dir):
    split = tuple(part[:500] for part in load_split(mnist_dir, "test"))
    original = load_feature_extractor()
    saved = save_feature_extractor(original.network, split, split, tmp_path / "weights")
    assert saved.sha256 == sha256(tmp_path / "weights") == original.sha256  # already rounded: not one byte differs
    lengths = original.features(split[0]).square().sum(1)
    assert saved.kid_gamma == pytest.approx(1 / float(lengths.mean()), rel=1e-9)
    (tmp_path / "metadata").write_text(json.dumps(saved.metadata))
    again = load_feature_extractor(tmp_path / "weights", tmp_path / "metadata")
    assert torch.equal(again.features(split[0]), original.features(split[0]))
