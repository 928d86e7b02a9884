"""Adversarial training: its state, and one step of it. Free of paths and tracking.

A step is two updates: the discriminator's, on real images and fresh fakes, then the generator's, on the same fakes
against the discriminator just updated. On a CPU the batch is split into one shard per worker thread. Workers
synchronize twice a step, to average gradients; PyTorch's own threads would synchronize inside every operation, hundreds
of times a step, and slow down to a third when another process takes a core (docs/speed.md).
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dcgan.gan.clusters import find_clusters
from dcgan.gan.finished_generator import finished_generator
from dcgan.gan.gradients import apply_gradients, average_gradients, match_layout
from dcgan.gan.losses import discriminator_loss, generator_loss, r1_penalty
from dcgan.gan.networks import Discriminator, Generator
from dcgan.gan.processes import ONE_PROCESS, OneProcess
from dcgan.gan.rendering import placement_loss
from dcgan.gan.rng import random_stream
from dcgan.params import ModelParams, TrainParams

# With 1, nine drawings of ten still drifted to the edge of the canvas; with 10, one in a hundred.
PLACEMENT_WEIGHT = 10.0
SERIES = ("loss_d", "loss_g", "acc_real", "acc_fake", "r1")  # means over the steps of a log window
LAST_STEP_SERIES = ("grad_norm_d", "grad_norm_g", "variety")  # of the last step of a window


@dataclass
class _Shard:
    """One worker's part of a batch, n images."""

    real: Tensor  # (n, 1, 28, 28) in [-1, 1]
    clusters: Tensor  # (n,), of the real images; the fakes are generated for the same ones
    latents: Tensor  # (n, latent_size)
    fake: Tensor | None = None  # (n, 1, 28, 28), with its graph: made for D's update and used again for G's
    boxes: Tensor | None = None  # of the fakes' drawings on the canvas, (n, 4), with their graph


class Trainer:
    """State of a training run, and `step()` to advance it.

    Every random number depends on `train.seed` and the step alone: a trainer that loads another's `state()` continues
    bit for bit as the other one would.

    Args:
        images: uint8 (N, 28, 28).
        labels: uint8 (N,), digits 0 to 9.
        device: "cpu" or "cuda". On a GPU there is one worker per process, whatever `train.workers` says.
        processes: those that train together; each computes an equal part of the shards.
    """

    def __init__(
        self,
        model: ModelParams,
        train: TrainParams,
        images: Tensor,
        labels: Tensor,
        device: str,
        processes: OneProcess = ONE_PROCESS,
    ) -> None:
        torch.set_num_threads(1)  # the workers are the parallelism
        self.settings = train
        self.device = torch.device(device)
        self.processes = processes
        self.images = images[:, None].to(self.device)
        self.labels = labels.long().to(self.device)
        self.steps = train.images // train.batch_size
        self.step_count = 0

        self.generator, self.discriminator = build_networks(model, train.seed, self.device)
        classes = self.labels if model.conditional else torch.zeros_like(self.labels)
        clusters = find_clusters(self.images, classes, model.clusters_per_class)
        self.clusters = processes.from_writer(clusters).to(self.device)
        self.generator.set_cluster_frequencies(torch.bincount(self.clusters, minlength=model.clusters))
        self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        self._generator_weights = list(self.generator.parameters())
        self._discriminator_weights = list(self.discriminator.parameters())
        self._ema_weights = list(self.generator_ema.parameters())
        betas = (train.beta1, train.beta2)
        self._generator_adam = torch.optim.Adam(self._generator_weights, train.learning_rate, betas, fused=True)
        self._discriminator_adam = torch.optim.Adam(self._discriminator_weights, train.learning_rate, betas, fused=True)

        self.workers = train.workers if self.device.type == "cpu" else processes.size
        threads = self.workers // processes.size
        self._replicas = [_tie_weights(self.generator, self.discriminator) for _ in range(threads - 1)]
        self._replicas.insert(0, (self.generator, self.discriminator))
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

        self._order: dict[int, Tensor] = {}  # epoch -> permutation of the data set
        self._sums = torch.zeros(len(SERIES), device=self.device)
        self._penalized_steps = 0
        self._window_steps = 0
        self._first_bad = torch.full((), -1, device=self.device)
        self._last: tuple[list[_Shard], list[Tensor], list[Tensor]] | None = None

    @property
    def images_seen(self) -> int:
        return self.step_count * self.settings.batch_size

    def step(self) -> None:
        """Update the discriminator, then the generator. Reads nothing back, so it does not wait for a GPU."""
        self._set_learning_rate()
        shards = self._draw_shards()
        penalized = self.settings.r1_gamma > 0 and self.step_count % self.settings.r1_every == 0

        results = self._map(lambda nets, shard: self._discriminator_gradients(*nets, shard, penalized), shards)
        results = self.processes.gather(results)
        gradient_d = average_gradients([gradients for gradients, _ in results])
        apply_gradients(self._discriminator_adam, self._discriminator_weights, gradient_d)
        d_values = torch.stack([values for _, values in results]).mean(dim=0)

        results = self._map(lambda nets, shard: self._generator_gradients(*nets, shard), shards)
        results = self.processes.gather(results)
        gradient_g = average_gradients([gradients for gradients, _ in results])
        apply_gradients(self._generator_adam, self._generator_weights, gradient_g)
        g_loss = torch.stack([loss for _, loss in results]).mean()

        self._average_weights()
        self._accumulate(d_values, g_loss, penalized)
        self._last = (shards, gradient_d, gradient_g)
        self.step_count += 1

    def _map(self, work: Callable, shards: list[_Shard]) -> list:
        """Run `work` on each worker's networks and shard, in parallel; results in the order of the workers."""
        if len(shards) == 1:
            return [work(self._replicas[0], shards[0])]
        return list(self._pool.map(work, self._replicas, shards))

    def _draw_shards(self) -> list[_Shard]:
        size, latent_size = self.settings.batch_size, self.generator.arguments["latent_size"]
        chosen = self._next_indices()
        real = self.images[chosen].float().div_(127.5).sub_(1)
        clusters = self.clusters[chosen]
        rng = random_stream(self.settings.seed, "latents", self.step_count, device=self.device)
        latents = torch.randn(size, latent_size, generator=rng, device=self.device)
        parts = zip(*(tensor.chunk(self.workers) for tensor in (real, clusters, latents)), strict=True)
        return self.processes.own([_Shard(*part) for part in parts])

    def _next_indices(self) -> Tensor:
        """Indices of this step's images. Epochs, each shuffled, follow one another without dropping a remainder."""
        total = len(self.images)
        epoch, start = divmod(self.images_seen, total)
        pieces, missing = [], self.settings.batch_size
        while missing > 0:
            pieces.append(self._epoch_order(epoch)[start : start + missing])
            missing -= len(pieces[-1])
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
        self, generator: Generator, discriminator: Discriminator, shard: _Shard, penalized: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of the discriminator's loss, and (loss_d, acc_real, acc_fake, r1); stores the fakes in `shard`."""
        with self._autocast():
            shard.fake, shard.boxes = generator.draw(shard.latents, shard.clusters)
            real, fake = _logits(discriminator, shard.real, shard.fake.detach(), shard.clusters)
        loss = discriminator_loss(real, fake)
        penalty = torch.zeros((), device=self.device)
        objective = loss
        if penalized:
            images = shard.real.clone().requires_grad_()
            with self._autocast():
                logits = discriminator(images, shard.clusters)
            penalty = r1_penalty(images, logits)
            objective = loss + self.settings.r1_gamma / 2 * self.settings.r1_every * penalty
        gradients = torch.autograd.grad(objective, list(discriminator.parameters()))
        values = torch.stack([loss, (real > 0).float().mean(), (fake < 0).float().mean(), penalty])
        return list(gradients), values.detach()

    def _generator_gradients(
        self, generator: Generator, discriminator: Discriminator, shard: _Shard
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of the generator's loss on the fakes in `shard`, and the loss."""
        with self._autocast():
            logits = discriminator(shard.fake, shard.clusters).float()
        loss = generator_loss(logits)
        placement = 0.0 if shard.boxes is None else PLACEMENT_WEIGHT * placement_loss(shard.boxes)
        objective = loss + placement
        return list(torch.autograd.grad(objective, list(generator.parameters()))), loss.detach()

    def _set_learning_rate(self) -> None:
        elapsed = self.step_count / self.steps
        start = self.settings.decay_from
        factor = min(1.0, (1 - elapsed) / (1 - start)) if start < 1 else 1.0
        for optimizer in self._optimizers().values():
            optimizer.param_groups[0]["lr"] = self.settings.learning_rate * factor

    def _average_weights(self) -> None:
        """Update the EMA; its half-life grows with the images seen, up to `ema_half_life` (Karras et al. 2020)."""
        half_life = min(self.settings.ema_half_life, 0.05 * self.images_seen)
        weight = 1 - 0.5 ** (self.settings.batch_size / half_life) if half_life > 0 else 1.0
        with torch.no_grad():
            torch._foreach_lerp_(self._ema_weights, self._generator_weights, weight)

    def _accumulate(self, d_values: Tensor, g_loss: Tensor, penalized: bool) -> None:
        loss_d, acc_real, acc_fake, r1 = d_values.unbind()
        self._sums += torch.stack([loss_d, g_loss, acc_real, acc_fake, r1])
        self._penalized_steps += penalized
        self._window_steps += 1
        bad = ~torch.isfinite(loss_d + g_loss + r1) & (self._first_bad < 0)
        self._first_bad = torch.where(bad, torch.full_like(self._first_bad, self.step_count), self._first_bad)

    def first_bad_step(self) -> int | None:
        """The first step whose loss was not finite, or None. Waits for the device."""
        step = int(self._first_bad)
        return step if step >= 0 else None

    def pop_window(self) -> dict[str, float]:
        """Means of the series since the last call (no "r1" if no step computed it); starts a new window. Waits for the
        device."""
        means = self._sums / self._window_steps
        values = dict(zip(SERIES, means.tolist(), strict=True))
        if self._penalized_steps:
            values["r1"] *= self._window_steps / self._penalized_steps
        else:
            del values["r1"]
        self.processes.check_equal(self._generator_weights + self._discriminator_weights, self.step_count)
        shards, gradient_d, gradient_g = self._last
        norms = nn.utils.get_total_norm(gradient_d), nn.utils.get_total_norm(gradient_g)
        last = (*norms, variety([self._join(shards)], self.generator.clusters_per_class))
        values |= dict(zip(LAST_STEP_SERIES, map(float, last), strict=True))
        self._sums.zero_()
        self._penalized_steps = self._window_steps = 0
        return values

    def _join(self, shards: list[_Shard]) -> _Shard:
        """The shards of all processes as one."""
        names = ("real", "clusters", "latents", "fake")
        return _Shard(*(self.processes.join(torch.cat([getattr(s, name).detach() for s in shards])) for name in names))

    def calibrated_ema_generator(self) -> Generator:
        """A copy of the EMA generator, ready for use."""
        rng = random_stream(self.settings.seed, "recalibration", device=self.device)
        return finished_generator(self.generator_ema, self.labels, rng)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a later step depends on, by name. No copies: save them before the next step."""
        tensors = {"counters": torch.tensor([self.step_count, self._window_steps, self._penalized_steps])}
        tensors["window"] = self._sums
        for name, network in self._networks().items():
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, adam in self._optimizers().items():
            for index, moments in adam.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from another trainer's `state()`; both must have been built with the same parameters."""
        self.step_count, self._window_steps, self._penalized_steps = tensors["counters"].tolist()
        self._sums.copy_(tensors["window"])
        for name, network in self._networks().items():
            network.load_state_dict(_with_prefix(tensors, name))
        for name, adam in self._optimizers().items():
            weights = adam.param_groups[0]["params"]
            moments: dict[int, dict[str, Any]] = {}
            for key, value in _with_prefix(tensors, name).items():
                index, moment = key.split(".")
                ready = value if moment == "step" else match_layout(weights[int(index)], value)
                moments.setdefault(int(index), {})[moment] = ready
            adam.load_state_dict(adam.state_dict() | {"state": moments})

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_ema": self.generator_ema,
        }

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam_g": self._generator_adam, "adam_d": self._discriminator_adam}


def build_networks(model: ModelParams, seed: int, device: torch.device) -> tuple[Generator, Discriminator]:
    """Both networks, with PyTorch's default initialization drawn from `seed`, in channels-last memory."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_stream(seed, "initialization").initial_seed())
        generator = Generator(
            model.latent_size, model.generator_width, model.conditional, model.clusters_per_class, model.canvas
        )
        discriminator = Discriminator(
            model.discriminator_width, model.clusters, model.discriminator_norm, model.minibatch_std, model.canvas
        )
    placement = {"device": device, "memory_format": torch.channels_last}
    return generator.to(**placement), discriminator.to(**placement)


def _logits(discriminator: Discriminator, real: Tensor, fake: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
    """The discriminator's float32 logits of real and of generated images, both of the given clusters."""
    if discriminator.arguments["norm"] == "batch":
        # Apart, because the generator's update has fakes only: D would learn to compare the halves of a mixed batch,
        # and call fakes alone real.
        return discriminator(real, clusters).float(), discriminator(fake, clusters).float()
    return discriminator(torch.cat([real, fake]), clusters.repeat(2)).float().chunk(2)


def variety(shards: list[_Shard], clusters_per_class: int) -> Tensor:
    """Spread of the fakes within a class, relative to the reals: 1 is equal, 0 means one image per class.

    Spread is the root of the mean squared distance of each image from its class's mean image in the batch. 1 as well
    when the reals have no spread, as in a small batch where no class occurs twice.
    """
    classes = torch.cat([shard.clusters for shard in shards]) // clusters_per_class
    members = nn.functional.one_hot(classes).float()  # (N, classes)
    spreads = []
    for images in (torch.cat([shard.fake.detach() for shard in shards]), torch.cat([shard.real for shard in shards])):
        pixels = images.float().flatten(1)
        means = (members.T @ pixels) / members.sum(0)[:, None].clamp(min=1)
        spreads.append((pixels - members @ means).square().sum())
    fakes, reals = spreads
    return torch.where(reals > 0, (fakes / reals).sqrt(), 1.0)


def _tie_weights(*networks: nn.Module) -> tuple[nn.Module, ...]:
    """Copies that share the weight tensors but have separate buffers (BatchNorm statistics)."""
    copies = copy.deepcopy(networks)
    for network, twin in zip(networks, copies, strict=True):
        for original, copied in zip(network.modules(), twin.modules(), strict=True):
            copied._parameters = original._parameters
    return copies


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}
