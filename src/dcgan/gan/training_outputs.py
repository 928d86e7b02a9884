"""The outputs of the train stage, written only when the training run is complete. Paths are relative to `workspace`."""

import csv
import io
import statistics
from pathlib import Path
from typing import Any

import torch

from dcgan.constants import STD_GROUP
from dcgan.gan import network_summary, plots
from dcgan.gan.model_files import export_generator, save_network
from dcgan.gan.network_summary import NetworkSummary, summarize
from dcgan.gan.trainer import Trainer
from dcgan.gan.training_loop import GRID_COLUMNS, TrainingHistory, snapshot_name
from dcgan.images import animation, digit_grid, grid, png, side_by_side
from dcgan.paths import CURVES, GENERATOR, MODELS, SNAPSHOTS, TRAIN_METRICS, TRAINING_FIGURES
from dcgan.support.files import write_atomic, write_json


def write_networks(trainer: Trainer, workspace: Path) -> None:
    """Generator and discriminator with the arguments that rebuild them, and the self-contained generator."""
    generator = trainer.calibrated_ema_generator()
    save_network(workspace / GENERATOR, generator)
    save_network(workspace / MODELS / "discriminator.safetensors", trainer.discriminator)
    export_generator(workspace / MODELS / "generator.pt2", generator)


def write_training_metrics(
    trainer: Trainer, history: TrainingHistory, resolved: dict[str, Any], workspace: Path
) -> None:
    """train.json (summary and resolved settings), the series as curves.csv, snapshots and figures."""
    write_json(workspace / TRAIN_METRICS, training_summary(trainer, history) | resolved)
    write_atomic(workspace / CURVES, _csv(history.rows))
    grids = {seen: grid(images, GRID_COLUMNS) for seen, images in sorted(history.snapshots.items())}
    for seen, picture in grids.items():
        write_atomic(workspace / SNAPSHOTS / snapshot_name(seen), png(picture))
    figures = workspace / TRAINING_FIGURES
    write_atomic(figures / "animation.gif", animation(list(grids.values())))
    real = digit_grid(trainer.images[:, 0].cpu().numpy(), trainer.labels.cpu().numpy(), GRID_COLUMNS)
    untrained, trained = grids[min(grids)], grids[max(grids)]
    row = side_by_side([untrained, trained, grid(real, GRID_COLUMNS)])
    write_atomic(figures / "untrained_trained_real.png", png(row))
    write_atomic(figures / "curves.png", plots.curves(history.rows))
    networks = summarize_networks(trainer)
    write_atomic(figures / "networks.txt", network_summary.table(networks).encode())
    write_atomic(figures / "networks.png", plots.networks_picture(networks))


def training_summary(trainer: Trainer, history: TrainingHistory) -> dict[str, Any]:
    """Mean of each series over the last tenth of the run, warnings, images, steps and parameter counts."""
    tail = history.rows[-max(1, len(history.rows) // 10) :]
    names = [name for name in _series(tail) if name not in ("step", "images")]
    final = {name: round(statistics.mean(row[name] for row in tail if name in row), 4) for name in names}
    return final | {
        "warnings": history.warnings,
        "images": trainer.images_seen,
        "steps": trainer.step_count,
        "generator_parameters": sum(tensor.numel() for tensor in trainer.generator.parameters()),
        "discriminator_parameters": sum(tensor.numel() for tensor in trainer.discriminator.parameters()),
    }


def summarize_networks(trainer: Trainer) -> dict[str, NetworkSummary]:
    """Both networks, read from a forward pass of one standard-deviation group."""
    generator, discriminator = trainer.generator, trainer.discriminator
    latents = torch.zeros(STD_GROUP, generator.arguments["latent_size"], device=trainer.device)
    clusters = torch.zeros(STD_GROUP, dtype=torch.int64, device=trainer.device)
    images = torch.zeros(STD_GROUP, *trainer.images.shape[1:], device=trainer.device)
    return {
        "generator": summarize(generator, latents, *([clusters] if generator.conditional else [])),
        "discriminator": summarize(discriminator, images, clusters),
    }


def _series(rows: list[dict[str, float]]) -> list[str]:
    """Names of all columns; "r1" is not in every row."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_series(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
