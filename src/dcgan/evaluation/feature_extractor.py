"""The extractor: the fixed digit feature network that every score is measured with.

It was made once (`dcgan feature-extractor`), is committed in `models/` and is only read from then on: scores of two rulers
cannot be compared. The metadata beside the weights: recipe, accuracies, SHA-256, and the scores of real data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from dcgan.evaluation.classifier import DigitNetwork, Recipe, fit, predict
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS
from dcgan.support.errors import UserError
from dcgan.support.files import read_json, sha256, write_atomic

# Small shifts keep the extractor from leaning on exact pixel places and its training accuracy near its test accuracy.
RECIPE = Recipe(epochs=5, shift=2)
SEED = 0
THREADS = 2  # the weights depend on it

LEAST_TEST_ACCURACY = 0.994
LARGEST_ACCURACY_GAP = 0.003  # training minus test


@dataclass(frozen=True)
class FeatureExtractor:
    """The feature network, in evaluation mode, with its metadata."""

    network: DigitNetwork
    metadata: dict

    @property
    def hash(self) -> str:
        """SHA-256 of the weights file."""
        return self.metadata["sha256"]

    @property
    def kid_gamma(self) -> float:
        """Scale of KID's kernel: one over the mean squared length of a training image's features."""
        return self.metadata["kid_gamma"]

    def features(self, images: np.ndarray | Tensor) -> Tensor:
        """uint8 [N, 28, 28] -> float64 [N, 128]."""
        return self.look(images)[0]

    @torch.inference_mode()
    def look(self, images: np.ndarray | Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
        """Features and the digits seen: uint8 [N, 28, 28] -> float64 [N, 128], int64 [N]."""
        parts = torch.as_tensor(images).split(batch_size)
        features = torch.cat([self.network.features(part) for part in parts])
        return features.double(), self.network.head(features).argmax(1)


def load_feature_extractor(weights: Path = FEATURE_WEIGHTS, metadata: Path = FEATURE_METADATA) -> FeatureExtractor:
    """Read the extractor and check it against its metadata.

    Raises:
        UserError: a file is missing, or the weights are not those that the metadata describes.
    """
    known = read_json(metadata)
    found = sha256(weights)
    if found != known["sha256"]:
        raise UserError(
            f"{weights} has SHA-256 {found[:12]}..., its metadata {metadata} says {known['sha256'][:12]}...: "
            "scores would not compare with any other; restore both with `git checkout -- models`"
        )
    return FeatureExtractor(_network(Path(weights).read_bytes()), known)


def make_feature_extractor(images: np.ndarray, labels: np.ndarray) -> DigitNetwork:
    """Train the extractor by its fixed recipe on MNIST's training set: uint8 [60000, 28, 28] and [60000]."""
    return fit(torch.from_numpy(images), torch.from_numpy(labels), RECIPE, seed=SEED, title="feature-extractor")


def save_feature_extractor(
    network: DigitNetwork,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    weights: Path = FEATURE_WEIGHTS,
    metadata: Path = FEATURE_METADATA,
) -> FeatureExtractor:
    """Write weights and metadata; what comes back was read from the written file.

    The large matrices are stored in half precision (0.5 MB instead of 1); the accuracies are those of the
    network that is read back, so the rounding is part of the extractor.

    Raises:
        UserError: the network is not good enough to measure with.
    """
    stored = {
        name: (value.half() if value.ndim > 1 else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    data = safetensors.torch.save(stored)
    read_back = _network(data)
    train_accuracy, test_accuracy = (accuracy(read_back, *split) for split in (train, test))
    if test_accuracy < LEAST_TEST_ACCURACY or train_accuracy - test_accuracy > LARGEST_ACCURACY_GAP:
        raise UserError(
            f"this extractor reads {test_accuracy:.2%} of the test set and {train_accuracy:.2%} of the training set, not "
            f"at least {LEAST_TEST_ACCURACY:.1%} and at most {LARGEST_ACCURACY_GAP:.1%} more; nothing was written"
        )
    write_atomic(weights, data)
    facts = {
        "sha256": sha256(weights),
        "network": "conv 3x3 (32, 64, 128), BatchNorm, ReLU, max-pool; dense 128, ReLU (the features); dense 10",
        "input": "uint8 [N, 28, 28], scaled to [-1, 1] inside",
        "training": "MNIST's 60,000 training images; AdamW, one learning-rate cycle, cross-entropy, fp32",
        "recipe": {**RECIPE.record(), "seed": SEED, "threads": THREADS},
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
    }
    lengths = FeatureExtractor(read_back, facts).features(train[0]).pow(2).sum(1)
    return FeatureExtractor(read_back, {**facts, "kid_gamma": 1 / float(lengths.mean())})


def accuracy(network: DigitNetwork, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of uint8 [N, 28, 28] whose class the network names as uint8 [N] does, 0..1."""
    return float((predict(network, torch.from_numpy(images)).numpy() == labels).mean())


def _network(data: bytes) -> DigitNetwork:
    network = DigitNetwork()
    stored = safetensors.torch.load(data)
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    missing, unexpected = network.load_state_dict(stored, strict=False)
    if set(missing) - counters or unexpected:
        raise UserError("the ruler's weights do not fit the network of this version; restore both from one commit")
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
