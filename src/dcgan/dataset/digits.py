"""The digits of a data set: each depends on the seed, its split and its row, not on the size of the data set.

Labels and latents are drawn in blocks of 1,000 rows, each with random streams of its own. So any part of a data set is
made in constant memory, on any number of threads, without the rest.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcgan.gan.networks import Generator
from dcgan.gan.rng import random_stream
from dcgan.gan.sampling import TRAINING_COUNTS, to_uint8

BLOCK = 1000  # rows of a random stream
BATCH = 100  # images per forward pass: feature maps that fit into a core's cache. It changes the last bits of a result.

Mix = Literal["balanced", "mnist"]
Split = Literal["train", "test"]


def block_labels(seed: int, split: Split, block: int, classes: tuple[int, ...], mix: Mix) -> np.ndarray:
    """uint8 (1000,): labels of one block, in random order, spread evenly.

    However many rows a data set has, each class has its share of them to within two rows: the j-th of a block's n
    digits of a class is at a random place in the j-th n-th of the block.
    """
    before, after = (_class_counts(BLOCK * blocks, classes, mix) for blocks in (block, block + 1))
    counts = after - before
    labels = np.repeat(np.asarray(classes, dtype=np.uint8), counts)
    occurrence = np.concatenate([np.arange(count) for count in counts])
    stream = random_stream(seed, f"data set {split} labels", block)
    position = (occurrence + torch.rand(BLOCK, dtype=torch.float64, generator=stream).numpy()) / counts.repeat(counts)
    return labels[np.argsort(position, kind="stable")]


def _class_counts(rows: int, classes: tuple[int, ...], mix: Mix) -> np.ndarray:
    """How many of the first `rows` digits are of each class, to the nearest integer; they sum to `rows`."""
    weights = [1 if mix == "balanced" else TRAINING_COUNTS[digit] for digit in classes]
    cumulative, total = np.cumsum([0, *weights], dtype=np.int64), sum(weights)
    return np.diff((2 * rows * cumulative + total) // (2 * total))


def block_images(
    generator: nn.Module, latent_size: int, seed: int, split: Split, block: int, labels: Tensor
) -> np.ndarray:
    """uint8 (1000, 28, 28): the digits of one block, with these labels, int64 (1000,)."""
    latents = torch.randn(BLOCK, latent_size, generator=random_stream(seed, f"data set {split} latents", block))
    parts = [slice(start, start + BATCH) for start in range(0, BLOCK, BATCH)]
    with torch.inference_mode():
        return np.concatenate([to_uint8(generator(latents[part], labels[part])) for part in parts])


class DigitSource:
    """The digits of a seed, by block. Can be used by several threads."""

    def __init__(self, generator: Generator, seed: int, classes: tuple[int, ...], mix: Mix) -> None:
        self._generator = inference_copy(generator)
        self._latent_size = generator.arguments["latent_size"]
        self._seed, self._classes, self._mix = seed, classes, mix

    def block(self, split: Split, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 (1000, 28, 28), and labels, uint8 (1000,), of the rows from 1000 * block."""
        labels = block_labels(self._seed, split, block, self._classes, self._mix)
        wanted = torch.from_numpy(labels).long()
        return block_images(self._generator, self._latent_size, self._seed, split, block, wanted), labels


def inference_copy(generator: Generator) -> Generator:
    """The same generator, a quarter faster on a CPU, up to rounding: about one pixel in 250,000 differs, by one level.

    BatchNorm becomes part of the convolutions, and the last layer, of few channels at the largest size, one plain
    convolution (Shi et al. 2016: a transposed convolution of stride 2 is one of four times the channels, rearranged).
    """
    twin = Generator(**generator.arguments).eval()
    twin.load_state_dict(generator.state_dict())
    layers = (("up1", "norm2"), ("up2", "norm3"), *((("up3", "norm4"),) if twin.canvas else ()))
    for convolution, norm in layers:
        fused = fuse_conv_bn_eval(getattr(twin, convolution), getattr(twin, norm), transpose=True)
        setattr(twin, convolution, fused)
        setattr(twin, norm, nn.Identity())
    last = "up4" if twin.canvas else "up3"
    setattr(twin, last, _SubPixelConvolution(getattr(twin, last)))
    return twin.requires_grad_(False)


class _SubPixelConvolution(nn.Module):
    """What a transposed convolution to one channel, with a kernel of 4, stride 2 and padding 1, computes."""

    def __init__(self, transposed: nn.ConvTranspose2d) -> None:
        super().__init__()
        kernel = transposed.weight.detach()[:, 0]  # (channels, 4, 4)
        weight = kernel.new_zeros(2, 2, len(kernel), 3, 3)  # output row 2m + a gets input rows m + d: kernel row a+1-2d
        taps = [(phase, shift, phase + 1 - 2 * shift) for phase in (0, 1) for shift in (phase - 1, phase)]
        for a, down, row in taps:
            for b, right, column in taps:
                weight[a, b, :, down + 1, right + 1] = kernel[:, row, column]
        self.weight = nn.Parameter(weight.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(transposed.bias.detach().repeat_interleave(4))

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(conv2d(x, self.weight, self.bias, padding=1), 2)
