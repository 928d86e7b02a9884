"""The adversarial training: its state and one step of it. Knows no paths and no tracking.

A step is two updates. First the discriminator's, on real images and fresh fakes; then the generator's, on the same
fakes, judged by the discriminator just updated. On a CPU the batch is split among worker threads, each with its share
and one core to itself, who meet twice a step to average gradients: threads inside each operation would meet hundreds
of times and fall to a third of the speed when another process takes a core (docs/speed.md).
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dcgan.gan.clusters import find_clusters
from dcgan.gan.losses import discriminator_loss, generator_loss, r1_penalty
from dcgan.gan.networks import Discriminator, Generator
from dcgan.gan.rng import random_stream
from dcgan.params import ModelParams, TrainParams

RECALIBRATION_IMAGES = 2_000  # for the averaged generator's BatchNorm statistics; 0.3 s on one core
SERIES = ("loss_d", "loss_g", "acc_real", "acc_fake", "r1")  # means over the steps of a log window
LAST_STEP_SERIES = ("grad_norm_d", "grad_norm_g", "variety")  # of the last step of a window


@dataclass
class _Shard:
    """A worker's part of one step."""

    real: Tensor  # (n, 1, 28, 28) in [-1, 1]
    clusters: Tensor  # (n,), of the real images; the fakes get the same
    latents: Tensor  # (n, latent_size)
    fake: Tensor | None = None  # the generator's output, with its graph, between the two updates


class Trainer:
    """State of a training on `images` (uint8, (N, 28, 28)) with `labels` (uint8, (N,)), and `step()` to advance it.

    Everything random comes from `train.seed` and the step: a trainer that loads another's `state()` goes on with
    exactly the same numbers.
    """

    def __init__(self, model: ModelParams, train: TrainParams, images: Tensor, labels: Tensor, device: str) -> None:
        torch.set_num_threads(1)  # the workers are the parallelism
        self.settings = train
        self.device = torch.device(device)
        self.images = images[:, None].to(self.device)
        self.labels = labels.long().to(self.device)
        self.steps = train.images // train.batch_size
        self.step_count = 0

        self.generator, self.discriminator = build_networks(model, train.seed, self.device)
        known = self.labels if model.conditional else torch.zeros_like(self.labels)
        self.clusters = find_clusters(self.images, known, self.generator.clusters_per_class).to(self.device)
        self.generator.set_cluster_frequencies(torch.bincount(self.clusters, minlength=model.clusters))
        self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        self._generator_weights = list(self.generator.parameters())
        self._discriminator_weights = list(self.discriminator.parameters())
        self._ema_weights = list(self.generator_ema.parameters())
        betas = (train.beta1, train.beta2)
        self._generator_adam = torch.optim.Adam(self._generator_weights, train.learning_rate, betas, fused=True)
        self._discriminator_adam = torch.optim.Adam(self._discriminator_weights, train.learning_rate, betas, fused=True)

        self.workers = train.workers if self.device.type == "cpu" else 1
        self._replicas = [_tie_weights(self.generator, self.discriminator) for _ in range(self.workers - 1)]
        self._replicas.insert(0, (self.generator, self.discriminator))
        self._pool = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))

        self._order: dict[int, Tensor] = {}  # epoch -> permutation of the data set
        self._sums = torch.zeros(len(SERIES), device=self.device)
        self._penalties = 0
        self._window_steps = 0
        self._first_bad = torch.full((), -1, device=self.device)
        self._last: tuple[list[_Shard], Tensor, Tensor] | None = None

    @property
    def images_seen(self) -> int:
        return self.step_count * self.settings.batch_size

    def step(self) -> None:
        """One update of the discriminator, then one of the generator. Waits for no device: nothing is read back."""
        self._set_learning_rate()
        shares = self._draw_shards()
        penalized = self.settings.r1_gamma > 0 and self.step_count % self.settings.r1_every == 0

        results = self._map(lambda nets, share: self._discriminator_gradients(*nets, share, penalized), shares)
        gradient_d = _average([gradients for gradients, _ in results])
        _update(self._discriminator_adam, self._discriminator_weights, gradient_d)
        d_values = torch.stack([values for _, values in results]).mean(dim=0)

        results = self._map(lambda nets, share: self._generator_gradients(*nets, share), shares)
        gradient_g = _average([gradients for gradients, _ in results])
        _update(self._generator_adam, self._generator_weights, gradient_g)
        g_loss = torch.stack([loss for _, loss in results]).mean()

        self._average_weights()
        self._account(d_values, g_loss, penalized)
        self._last = (shares, gradient_d, gradient_g)
        self.step_count += 1

    def _map(self, work: Callable, shares: list[_Shard]) -> list:
        """`work` on each worker's networks and share, at the same time; results in the workers' order."""
        if self.workers == 1:
            return [work(self._replicas[0], shares[0])]
        return list(self._pool.map(work, self._replicas, shares))

    def _draw_shards(self) -> list[_Shard]:
        size, latent_size = self.settings.batch_size, self.generator.arguments["latent_size"]
        chosen = self._next_indices()
        real = self.images[chosen].float().div_(127.5).sub_(1)
        clusters = self.clusters[chosen]
        generator = random_stream(self.settings.seed, "latents", self.step_count, device=self.device)
        latents = torch.randn(size, latent_size, generator=generator, device=self.device)
        parts = zip(*(tensor.chunk(self.workers) for tensor in (real, clusters, latents)), strict=True)
        return [_Shard(*part) for part in parts]

    def _next_indices(self) -> Tensor:
        """Indices of this step's images: epochs in shuffled order, one after the other, nothing dropped between."""
        total = len(self.images)
        epoch, start = divmod(self.images_seen, total)
        pieces, wanted = [], self.settings.batch_size
        while wanted > 0:
            pieces.append(self._epoch_order(epoch)[start : start + wanted])
            wanted -= len(pieces[-1])
            epoch, start = epoch + 1, 0
        return torch.cat(pieces)

    def _epoch_order(self, epoch: int) -> Tensor:
        if epoch not in self._order:
            self._order = {old: order for old, order in self._order.items() if old == epoch - 1}
            order = torch.randperm(len(self.images), generator=random_stream(self.settings.seed, "order", epoch))
            self._order[epoch] = order.to(self.device)
        return self._order[epoch]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _discriminator_gradients(
        self, generator: Generator, discriminator: Discriminator, share: _Shard, penalized: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of the discriminator's loss, and (loss_d, acc_real, acc_fake, r1); leaves the fakes in `share`."""
        with self._autocast():
            share.fake = generator.forward_clusters(share.latents, share.clusters)
            both = torch.cat([share.real, share.fake.detach()])  # one pass: BatchNorm, if any, sees both
            real, fake = discriminator(both, share.clusters.repeat(2)).float().chunk(2)
        loss = discriminator_loss(real, fake)
        penalty = torch.zeros((), device=self.device)
        objective = loss
        if penalized:
            images = share.real.clone().requires_grad_()
            with self._autocast():
                logits = discriminator(images, share.clusters)
            penalty = r1_penalty(images, logits)
            objective = loss + self.settings.r1_gamma / 2 * self.settings.r1_every * penalty
        gradients = torch.autograd.grad(objective, list(discriminator.parameters()))
        values = torch.stack([loss, (real > 0).float().mean(), (fake < 0).float().mean(), penalty])
        return list(gradients), values.detach()

    def _generator_gradients(
        self, generator: Generator, discriminator: Discriminator, share: _Shard
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of the generator's loss on the fakes in `share`, by the discriminator as it is now."""
        with self._autocast():
            logits = discriminator(share.fake, share.clusters).float()
        loss = generator_loss(logits)
        return list(torch.autograd.grad(loss, list(generator.parameters()))), loss.detach()

    def _set_learning_rate(self) -> None:
        share = self.step_count / self.steps
        start = self.settings.decay_from
        factor = min(1.0, (1 - share) / (1 - start)) if start < 1 else 1.0
        for optimizer in (self._generator_adam, self._discriminator_adam):
            optimizer.param_groups[0]["lr"] = self.settings.learning_rate * factor

    def _average_weights(self) -> None:
        """Exponential moving average of the generator; its half-life grows with the run until it reaches its value."""
        half_life = min(self.settings.ema_half_life, 0.05 * self.images_seen)
        weight = 1 - 0.5 ** (self.settings.batch_size / half_life) if half_life > 0 else 1.0
        with torch.no_grad():
            torch._foreach_lerp_(self._ema_weights, self._generator_weights, weight)

    def _account(self, d_values: Tensor, g_loss: Tensor, penalized: bool) -> None:
        loss_d, acc_real, acc_fake, r1 = d_values.unbind()
        self._sums += torch.stack([loss_d, g_loss, acc_real, acc_fake, r1])
        self._penalties += penalized
        self._window_steps += 1
        bad = ~torch.isfinite(loss_d + g_loss + r1) & (self._first_bad < 0)
        self._first_bad = torch.where(bad, torch.full_like(self._first_bad, self.step_count), self._first_bad)

    def first_bad_step(self) -> int | None:
        """The first step whose loss was not finite, or None. Waits for the device."""
        step = int(self._first_bad)
        return step if step >= 0 else None

    def read_window(self) -> dict[str, float]:
        """Means of the series since the last call, and begin a new window. Waits for the device."""
        means = self._sums / self._window_steps
        values = dict(zip(SERIES, means.tolist(), strict=True))
        values["r1"] *= self._window_steps / max(self._penalties, 1)
        shares, gradient_d, gradient_g = self._last
        norms = nn.utils.get_total_norm(gradient_d), nn.utils.get_total_norm(gradient_g)
        last = (*norms, variety(shares, self.generator.clusters_per_class))
        values |= dict(zip(LAST_STEP_SERIES, map(float, last), strict=True))
        self._sums.zero_()
        self._penalties = self._window_steps = 0
        return values

    def finished_generator(self) -> Generator:
        """A copy of the averaged generator, ready for use.

        Its BatchNorm statistics are estimated anew: those of the trained weights are not those of the averaged ones.
        """
        generator = copy.deepcopy(self.generator_ema)
        norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        draws = random_stream(self.settings.seed, "recalibration", device=self.device)
        generator.train()
        with torch.no_grad():
            for _ in range(RECALIBRATION_IMAGES // 250):
                latents = torch.randn(250, generator.arguments["latent_size"], generator=draws, device=self.device)
                chosen = torch.randint(len(self.labels), (250,), generator=draws, device=self.device)
                generator(latents, self.labels[chosen])
        return generator.eval()

    def state(self) -> dict[str, Tensor]:
        """All that a later step depends on, by name. The tensors are the live ones: save them before the next step."""
        tensors = {"progress": torch.tensor([self.step_count, self._window_steps, self._penalties])}
        tensors["window"] = self._sums
        networks = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_ema": self.generator_ema,
        }
        for name, network in networks.items():
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, adam in (("adam_g", self._generator_adam), ("adam_d", self._discriminator_adam)):
            for index, moments in adam.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on where the trainer was whose `state()` this is; it must have had the same parameters."""
        self.step_count, self._window_steps, self._penalties = tensors["progress"].tolist()
        self._sums.copy_(tensors["window"])
        networks = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_ema": self.generator_ema,
        }
        for name, network in networks.items():
            network.load_state_dict(_below(tensors, name))
        for name, adam in (("adam_g", self._generator_adam), ("adam_d", self._discriminator_adam)):
            weights = adam.param_groups[0]["params"]
            moments: dict[int, dict[str, Any]] = {}
            for key, value in _below(tensors, name).items():
                index, moment = key.split(".")
                ready = value if moment == "step" else _laid_out_as(weights[int(index)], value)
                moments.setdefault(int(index), {})[moment] = ready
            adam.load_state_dict(adam.state_dict() | {"state": moments})


def build_networks(model: ModelParams, seed: int, device: torch.device) -> tuple[Generator, Discriminator]:
    """Both networks, with PyTorch's default initialization drawn from `seed`, in channels-last memory."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_stream(seed, "initialization").initial_seed())
        generator = Generator(model.latent_size, model.generator_width, model.conditional, model.clusters_per_class)
        discriminator = Discriminator(
            model.discriminator_width, model.clusters, model.discriminator_norm, model.minibatch_std
        )
    placement = {"device": device, "memory_format": torch.channels_last}
    return generator.to(**placement), discriminator.to(**placement)


def variety(shares: list[_Shard], clusters_per_class: int) -> Tensor:
    """How much the fakes of one label differ, relative to the reals of one label: 1 is as much, 0 a single picture.

    Root of the mean squared distance of each image from its label's mean image in the batch; fakes over reals. Also 1
    in a small batch where no label comes twice, so that nothing can differ.
    """
    labels = torch.cat([share.clusters for share in shares]) // clusters_per_class
    members = nn.functional.one_hot(labels).float()  # (N, classes)
    spreads = []
    for images in (torch.cat([share.fake.detach() for share in shares]), torch.cat([share.real for share in shares])):
        pixels = images.float().flatten(1)
        means = (members.T @ pixels) / members.sum(0)[:, None].clamp(min=1)
        spreads.append((pixels - members @ means).square().sum())
    fakes, reals = spreads
    return torch.where(reals > 0, (fakes / reals).sqrt(), 1.0)


def _tie_weights(*networks: nn.Module) -> tuple[nn.Module, ...]:
    """Copies that compute with the same weight tensors but have buffers (BatchNorm statistics) of their own."""
    copies = copy.deepcopy(networks)
    for network, twin in zip(networks, copies, strict=True):
        for original, copied in zip(network.modules(), twin.modules(), strict=True):
            copied._parameters = original._parameters
    return copies


def _average(gradients: list[list[Tensor]]) -> list[Tensor]:
    """Mean over the workers, in their order, so that the sum rounds the same way each time."""
    total = gradients[0]
    for other in gradients[1:]:
        torch._foreach_add_(total, other)
    if len(gradients) > 1:
        torch._foreach_div_(total, len(gradients))
    return total


def _update(optimizer: torch.optim.Optimizer, weights: list[Tensor], gradients: list[Tensor]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = _laid_out_as(weight, gradient)
    optimizer.step()


def _laid_out_as(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight`. Fused Adam pairs elements by their place in memory, whatever the
    strides say: a gradient in another layout would move other weights than its own, and nothing would logger."""
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}
