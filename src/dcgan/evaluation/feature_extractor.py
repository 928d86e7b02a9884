"""The feature extractor: a fixed digit network whose features FID, KID and the other feature scores compare.

It was trained once (`dcgan feature-extractor`), is committed in `models/` and only read from then on: scores measured
with different extractors are not comparable. Its metadata, beside the weights: recipe, accuracies, SHA-256, and the
scores of real data.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from dcgan.evaluation.classifier import DigitNetwork, Recipe, accuracy, fit
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS
from dcgan.support.errors import UserError
from dcgan.support.files import read_json, sha256, write_atomic

# Shifts make the features less sensitive to exact pixel positions and keep training and test accuracy close.
RECIPE = Recipe(epochs=5, shift=2)
SEED = 0
THREADS = 2  # the weights depend on it
METADATA_VERSION = 2  # raise it when a key of the metadata changes

MIN_TEST_ACCURACY = 0.994
MAX_ACCURACY_GAP = 0.003  # training minus test


@dataclass(frozen=True)
class FeatureExtractor:
    """The feature network, in evaluation mode, with its metadata."""

    network: DigitNetwork
    metadata: dict[str, Any]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights file."""
        return self.metadata["sha256"]

    @property
    def kid_gamma(self) -> float:
        """Scale of KID's kernel: one over the mean squared length of a training image's features."""
        return self.metadata["kid_gamma"]

    def features(self, images: np.ndarray | Tensor) -> Tensor:
        """uint8 [N, 28, 28] -> float64 [N, 128]."""
        return self.features_and_labels(images)[0]

    @torch.inference_mode()
    def features_and_labels(self, images: np.ndarray | Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
        """Features and predicted labels: uint8 [N, 28, 28] -> float64 [N, 128], int64 [N]."""
        parts = torch.as_tensor(images).split(batch_size)
        features = torch.cat([self.network.features(part) for part in parts])
        return features.double(), self.network.head(features).argmax(1)

    def with_metadata(self, **entries: Any) -> "FeatureExtractor":
        """The same network with these entries added to its metadata, or replaced."""
        return replace(self, metadata={**self.metadata, **entries})


def load_feature_extractor(weights: Path = FEATURE_WEIGHTS, metadata: Path = FEATURE_METADATA) -> FeatureExtractor:
    """Read the feature extractor and check it against its metadata.

    Raises:
        UserError: a file is missing, the metadata is of another version, or it describes other weights.
    """
    entries = read_json(metadata)
    version = entries.get("version") if isinstance(entries, dict) else None
    if version != METADATA_VERSION:
        raise UserError(
            f"{metadata} has version {version}, expected {METADATA_VERSION}: it was written by another version of the "
            "code; restore it with `git checkout -- models`"
        )
    found = sha256(weights)
    if found != entries["sha256"]:
        raise UserError(
            f"{weights} has SHA-256 {found[:12]}..., but its metadata {metadata} says {entries['sha256'][:12]}...: "
            "its scores would not be comparable with any others; restore both with `git checkout -- models`"
        )
    return FeatureExtractor(_network(Path(weights).read_bytes()), entries)


def train_feature_extractor(images: np.ndarray, labels: np.ndarray) -> DigitNetwork:
    """Train the network with its fixed recipe on MNIST's training set: uint8 [60000, 28, 28] and [60000]."""
    return fit(torch.from_numpy(images), torch.from_numpy(labels), RECIPE, seed=SEED, title="feature extractor")


def save_feature_extractor(
    network: DigitNetwork,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    weights: Path = FEATURE_WEIGHTS,
) -> FeatureExtractor:
    """Write the weights, and return the extractor as read back from the file, with its metadata.

    The large matrices are stored in half precision (0.5 MB instead of 1). The rounding is part of the extractor: its
    accuracies are measured on the rounded weights.

    Args:
        train, test: images and labels of MNIST's splits.

    Raises:
        UserError: the network is not accurate enough.
    """
    stored = {
        name: (value.half() if value.ndim > 1 else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    data = safetensors.torch.save(stored)
    rounded = _network(data)
    train_accuracy, test_accuracy = (accuracy(rounded, *split) for split in (train, test))
    if test_accuracy < MIN_TEST_ACCURACY or train_accuracy - test_accuracy > MAX_ACCURACY_GAP:
        raise UserError(
            f"the network classifies {test_accuracy:.2%} of the test set and {train_accuracy:.2%} of the training set "
            f"correctly; a feature extractor needs at least {MIN_TEST_ACCURACY:.1%} on the test set and at most "
            f"{MAX_ACCURACY_GAP:.1%} more on the training set; nothing was written"
        )
    write_atomic(weights, data)
    metadata = {
        "version": METADATA_VERSION,
        "sha256": sha256(weights),
        "network": "conv 3x3 (32, 64, 128), BatchNorm, ReLU, max-pool; dense 128, ReLU (the features); dense 10",
        "input": "uint8 [N, 28, 28], scaled to [-1, 1] inside",
        "training": "MNIST's 60,000 training images; AdamW, one learning-rate cycle, cross-entropy, fp32",
        "recipe": {**asdict(RECIPE), "seed": SEED, "threads": THREADS},
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
    }
    extractor = FeatureExtractor(rounded, metadata)
    squared_lengths = extractor.features(train[0]).pow(2).sum(1)
    return extractor.with_metadata(kid_gamma=1 / float(squared_lengths.mean()))


def _network(data: bytes) -> DigitNetwork:
    network = DigitNetwork()
    stored = safetensors.torch.load(data)
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    missing, unexpected = network.load_state_dict(stored, strict=False)
    if set(missing) - counters or unexpected:
        raise UserError(
            "the feature extractor's weights do not fit this version's network; restore them with "
            "`git checkout -- models`"
        )
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
