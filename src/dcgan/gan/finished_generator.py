"""From averaged weights to a generator that is ready for use."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dcgan.gan.networks import Generator

RECALIBRATION_IMAGES = 2_000  # for BatchNorm's statistics; 0.3 s on one core
BATCH = 250


@torch.no_grad()
def finished_generator(average: Generator, labels: Tensor, rng: torch.Generator) -> Generator:
    """A copy of `average`, in evaluation mode.

    Weights are averaged over the training, BatchNorm's statistics are not: they are estimated again, from images of
    `labels` (N,), drawn at random. All values are rounded to float16, so that a file or a page that stores them in half
    the space has the same ones.
    """
    generator = copy.deepcopy(average)
    _round_to_half(generator.parameters())
    for norm in (module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    generator.train()
    for _ in range(RECALIBRATION_IMAGES // BATCH):
        latents = torch.randn(BATCH, generator.arguments["latent_size"], generator=rng, device=labels.device)
        chosen = torch.randint(len(labels), (BATCH,), generator=rng, device=labels.device)
        generator(latents, labels[chosen])
    _round_to_half(generator.state_dict().values())
    return generator.eval()


def _round_to_half(tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
