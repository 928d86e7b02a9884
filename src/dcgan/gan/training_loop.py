"""A training run from its first to its last step: when to log, draw snapshots, save checkpoints, warn and stop.

Everything the result depends on is in the checkpoint, so a run resumed after a kill writes the same bytes as an
uninterrupted one.
"""

import math
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dcgan.constants import CLASSES
from dcgan.gan.checkpoint import load_newest_checkpoint, save_checkpoint
from dcgan.gan.progress_picture import ProgressPicture
from dcgan.gan.rng import random_stream
from dcgan.gan.sampling import to_uint8
from dcgan.gan.trainer import Trainer
from dcgan.images import grid, png
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic
from dcgan.support.progress import progress
from dcgan.support.stop_signals import Interrupted, StopRequest

LOG_POINTS = 200  # points of each series over a run
SNAPSHOT = "snapshot."  # in a checkpoint, before the number of images seen
GRID_COLUMNS = 10  # images of each digit in a snapshot
CHECKPOINT_INTERVAL_S = 10.0  # at least
CHECKPOINT_TIME_FRACTION = 0.01  # of the training time at most: on a slow disk, checkpoints are less frequent
HEALTH_FROM_IMAGES = 50_000  # G and D are usually out of balance before that
HEALTH_WINDOWS = 5  # consecutive log windows before a warning
SPEED_FROM_S = 30.0  # rates at the start of a run vary too much
EXPLODED_LOSS = 100.0  # healthy losses stay below 10; at ten times the default learning rate they reach 100,000


class MetricLogger(Protocol):
    """Where a training run logs its series, by real images seen, and its snapshots, by percent of the budget: snapshots
    of runs with different budgets line up."""

    def log_points(self, values: dict[str, float], step: int) -> None: ...
    def log_image(self, key: str, path: Path, step: int) -> None: ...
    def sync(self) -> None: ...


class Diverged(UserError):
    """A loss is no longer finite, or has exploded."""

    exit_code = 1


@dataclass
class TrainingHistory:
    """What a training run has produced so far, besides the trainer's own state."""

    rows: list[dict[str, float]] = field(default_factory=list)  # one row per log window: step, images, series
    snapshots: dict[int, np.ndarray] = field(default_factory=dict)  # images seen -> uint8 (N, 28, 28)
    warnings: list[str] = field(default_factory=list)


def run_training(
    trainer: Trainer,
    folder: Path,
    logger: MetricLogger,
    stop: StopRequest,
    *,
    picture: Path | None = None,
    later_s: float = 0,
) -> TrainingHistory:
    """Train until the image budget is used up, starting from the newest checkpoint in `folder` if there is one.

    The last checkpoint is one of the last step: from it, a repeated call returns the same at once.

    Args:
        picture: where to draw the digits while they grow (`ProgressPicture`); None: nowhere.
        later_s: seconds that the later stages will take, for the time left.

    Raises:
        Interrupted: a stop was requested; a checkpoint was written first.
        Diverged: a loss is not finite or has exploded; the last checkpoint before that is kept.
        UserError: a checkpoint or snapshot could not be written; the last good checkpoint is kept.
    """
    run = _TrainingRun(trainer, folder, logger)
    run.resume()
    growing = ProgressPicture(picture, run.fixed_latents, run.fixed_labels) if picture else None
    seen, budget = trainer.images_seen, trainer.steps * trainer.settings.batch_size
    with progress("train", budget, "images", initial=seen, later_s=later_s) as bar:
        while trainer.step_count < trainer.steps:
            run.before_step()
            trainer.step()
            note = run.after_step()
            if growing:
                growing.draw_if_due(trainer.generator_ema)
            bar.update(trainer.settings.batch_size)
            if note:
                bar.set_postfix_str(note)
            if should_stop(trainer, stop):
                run.interrupt(stop)
    run.snapshot()
    run.save()
    return run.history


def follow_training(trainer: Trainer, stop: StopRequest) -> None:
    """Take part in the training that another process runs with `run_training`: the same steps, nothing written.

    Raises:
        Interrupted: a stop was requested in any process.
        ProcessLost: another process has ended.
    """
    if (checkpoint := trainer.processes.from_writer(None)) is not None:
        trainer.load_state({name: value for name, value in checkpoint.tensors.items() if not is_snapshot(name)})
    while trainer.step_count < trainer.steps:
        trainer.step()
        if trainer.step_count % log_every(trainer.steps) == 0:
            trainer.pop_window()
        if should_stop(trainer, stop):
            raise Interrupted(f"stopped by {stop.reason}; the first process has saved a checkpoint", stop.exit_code)


def should_stop(trainer: Trainer, stop: StopRequest) -> bool:
    """Whether a stop was requested, in any process: they all leave at the same step."""
    if not trainer.processes.any(stop.reason is not None):
        return False
    stop.make("a request to another process", 128 + signal.SIGTERM)
    return True


def log_every(steps: int) -> int:
    """Steps of a log window."""
    return max(1, steps // LOG_POINTS)


def is_snapshot(name: str) -> bool:
    """Whether a checkpoint's tensor is a snapshot, and not of the trainer's state."""
    return name.startswith(SNAPSHOT)


class _TrainingRun:
    def __init__(self, trainer: Trainer, folder: Path, logger: MetricLogger) -> None:
        self.trainer, self.folder, self.logger = trainer, folder, logger
        self.history = TrainingHistory()
        steps, settings = trainer.steps, trainer.settings
        self.log_every = log_every(steps)
        self.snapshot_steps = {round(i * steps / (settings.snapshots - 1)) for i in range(settings.snapshots - 1)}
        self.fixed_latents, self.fixed_labels = fixed_inputs(trainer)
        self.checkpoint_due = time.monotonic() + CHECKPOINT_INTERVAL_S
        self.speed = _SpeedMonitor()

    def resume(self) -> None:
        checkpoint = self.trainer.processes.from_writer(load_newest_checkpoint(self.folder))
        if checkpoint is None:
            return
        tensors = checkpoint.tensors
        names = [name for name in tensors if is_snapshot(name)]
        snapshots = {int(name.removeprefix(SNAPSHOT)): tensors.pop(name).numpy() for name in names}
        self.trainer.load_state(tensors)
        self.history = TrainingHistory(checkpoint.notes["rows"], snapshots, checkpoint.notes["warnings"])
        if self.trainer.step_count == self.trainer.steps:
            return
        print(
            f"resuming at {self.trainer.images_seen:,} of {self.trainer.settings.images:,} images, from {self.folder}; "
            "to start over instead, run: dcgan clean --yes",
            file=sys.stderr,
        )

    def before_step(self) -> None:
        if self.trainer.step_count in self.snapshot_steps:
            self.snapshot()

    def after_step(self) -> str | None:
        """Log and save when due; after logging, returns a short note for the progress bar."""
        note = None
        if self.trainer.step_count % self.log_every == 0:
            note = self.log()
        if time.monotonic() >= self.checkpoint_due:
            self.save()
        return note

    def log(self) -> str:
        self._stop_if_diverged()
        values = self.trainer.pop_window()
        step, seen = self.trainer.step_count, self.trainer.images_seen
        self._stop_if_exploded(values, step, seen)
        self.history.rows.append({"step": step, "images": seen} | {k: round(v, 6) for k, v in values.items()})
        self.logger.log_points({f"train/{name}": value for name, value in values.items()}, seen)
        self._check_health()
        self.speed.add_window(self.log_every * self.trainer.settings.batch_size)
        right = (values["acc_real"] + values["acc_fake"]) / 2
        return f"loss D {values['loss_d']:.2f} G {values['loss_g']:.2f}, D right {right:.0%}"

    def snapshot(self) -> None:
        """Generate images from the fixed latents with the current EMA generator."""
        seen = self.trainer.images_seen
        generator = self.trainer.calibrated_ema_generator()
        with torch.no_grad():
            images = to_uint8(generator(self.fixed_latents, self.fixed_labels))
        self.history.snapshots[seen] = images
        path = self.folder / snapshot_name(seen)
        write_atomic(path, png(grid(images, GRID_COLUMNS)))
        if seen:  # untrained, it is noise in every run
            self.logger.log_image("progress/percent", path, round(100 * self.trainer.step_count / self.trainer.steps))

    def save(self) -> None:
        self._stop_if_diverged()
        started = time.monotonic()
        self.logger.sync()
        tensors = self.trainer.state()
        tensors |= {f"{SNAPSHOT}{seen}": torch.from_numpy(images) for seen, images in self.history.snapshots.items()}
        notes = {"rows": self.history.rows, "warnings": self.history.warnings}
        save_checkpoint(self.folder, self.trainer.step_count, tensors, notes)
        cost = time.monotonic() - started
        self.checkpoint_due = time.monotonic() + max(CHECKPOINT_INTERVAL_S, cost / CHECKPOINT_TIME_FRACTION)

    def interrupt(self, stop: StopRequest) -> None:
        self.save()
        raise Interrupted(
            f"stopped by {stop.reason} at {self.trainer.images_seen:,} of {self.trainer.settings.images:,} images; "
            "a checkpoint was saved, and the same command resumes from it",
            stop.exit_code,
        )

    def _stop_if_diverged(self) -> None:
        bad = self.trainer.first_bad_step()
        if bad is not None:
            raise Diverged(
                f"the loss stopped being finite at step {bad} ({bad * self.trainer.settings.batch_size:,} images); the "
                f"checkpoint from before, if any, is kept in {self.folder}; lower train.learning_rate or raise "
                "train.r1_gamma"
            )

    def _stop_if_exploded(self, values: dict[str, float], step: int, seen: int) -> None:
        overflown = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if overflown:
            raise Diverged(
                f"{', '.join(overflown)} at step {step} ({seen:,} images), although the losses are finite; "
                "lower train.r1_gamma or train.learning_rate"
            )
        if max(values["loss_d"], values["loss_g"]) > EXPLODED_LOSS:
            raise Diverged(
                f"the losses exploded by step {step} ({seen:,} images): discriminator {values['loss_d']:,.0f}, "
                f"generator {values['loss_g']:,.0f}, where healthy ones stay below 10; "
                "lower train.learning_rate or raise train.r1_gamma"
            )

    def _check_health(self) -> None:
        recent = self.history.rows[-HEALTH_WINDOWS:]
        if self.trainer.images_seen < HEALTH_FROM_IMAGES or len(recent) < HEALTH_WINDOWS:
            return
        if all(row["acc_real"] > 0.99 and row["acc_fake"] > 0.99 for row in recent):
            self._warn(
                "the discriminator has won: it classifies over 99 % of real and generated images correctly, so the "
                "generator learns little from it; raise train.r1_gamma or lower train.learning_rate"
            )
        if all(row["variety"] < 0.5 for row in recent):
            self._warn(
                "the generator has collapsed: within a label its images vary less than half as much as real ones; "
                "set model.minibatch_std: true or raise train.r1_gamma"
            )

    def _warn(self, text: str) -> None:
        if text not in self.history.warnings:
            self.history.warnings.append(text)
            print(f"\nwarning: {text} (noticed at {self.trainer.images_seen:,} images)", file=sys.stderr)


class _SpeedMonitor:
    """Warns once when training falls below half its initial speed, as when another process takes its cores."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.started = self.since = time.monotonic()
        self.warned = False

    def add_window(self, images: int) -> None:
        now = time.monotonic()
        self.rates.append(images / (now - self.since))
        self.since = now
        if self.warned or len(self.rates) < 10 or now - self.started < SPEED_FROM_S:
            return
        first, last = statistics.median(self.rates[1:6]), statistics.median(self.rates[-3:])
        if last < first / 2:
            self.warned = True
            print(
                f"\nwarning: training slowed down from {first:,.0f} to {last:,.0f} images/s; another process may be "
                "using the cores: stop it, or set train.workers to the number of free cores for the next run",
                file=sys.stderr,
            )


def fixed_inputs(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Latents and labels of the snapshots, a row per digit; identical in all runs with the same latent size."""
    count = CLASSES * GRID_COLUMNS
    rng = random_stream(0, "fixed latents")
    latents = torch.randn(count, trainer.generator.arguments["latent_size"], generator=rng)
    labels = torch.arange(CLASSES).repeat_interleave(GRID_COLUMNS)
    return latents.to(trainer.device), labels.to(trainer.device)


def snapshot_name(images_seen: int) -> str:
    return f"images-{images_seen:09d}.png"
