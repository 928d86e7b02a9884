"""What the train stage leaves behind, written only when the training is complete."""

import csv
import io
from pathlib import Path
from typing import Any

from torch import nn

from dcgan.gan import plots
from dcgan.gan.model_files import export_generator, save_network
from dcgan.gan.trainer import Trainer
from dcgan.gan.training_loop import GRID_COLUMNS, Progress, snapshot_name, summary
from dcgan.images import animation, digit_grid, grid, png, side_by_side
from dcgan.support.files import write_atomic, write_json


def write_networks(trainer: Trainer, folder: Path) -> None:
    """generator and discriminator with the arguments that rebuild them, and the self-contained generator."""
    generator = trainer.finished_generator()
    save_network(folder / "generator.safetensors", generator)
    save_network(folder / "discriminator.safetensors", trainer.discriminator)
    export_generator(folder / "generator.pt2", generator)


def write_training_metrics(trainer: Trainer, progress: Progress, resolved: dict[str, Any], folder: Path) -> None:
    """train.json (summary and resolved settings), the series as curves.csv, and the pictures."""
    write_json(folder / "train.json", summary(progress, trainer) | resolved)
    write_atomic(folder / "curves.csv", _csv(progress.rows))
    for seen, images in progress.snapshots.items():
        write_atomic(folder / "progress" / snapshot_name(seen), png(grid(images, GRID_COLUMNS)))
    real = digit_grid(trainer.images[:, 0].cpu().numpy(), trainer.labels.cpu().numpy(), GRID_COLUMNS)
    pictures = folder / "training"
    grids = {seen: grid(images, GRID_COLUMNS) for seen, images in sorted(progress.snapshots.items())}
    write_atomic(pictures / "animation.gif", animation(list(grids.values())))
    untrained, trained = grids[min(grids)], grids[max(grids)]
    row = side_by_side([untrained, trained, grid(real, GRID_COLUMNS)])
    write_atomic(pictures / "untrained_trained_real.png", png(row))
    write_atomic(pictures / "curves.png", plots.curves(progress.rows))
    networks: dict[str, nn.Module] = {"generator": trainer.generator, "discriminator": trainer.discriminator}
    write_atomic(pictures / "networks.txt", plots.networks_text(networks).encode())
    write_atomic(pictures / "networks.png", plots.networks_picture(feature_maps(trainer)))


def feature_maps(trainer: Trainer) -> dict[str, list[tuple[str, int, int]]]:
    """For each network its stages as (operation, channels, side in pixels), in the order of computation."""
    g, d = trainer.generator.width, trainer.discriminator.arguments["width"]
    inputs = trainer.generator.dense.in_features
    norm = "BatchNorm, " if trainer.discriminator.arguments["norm"] == "batch" else ""
    return {
        "generator": [
            ("latent and kind", inputs, 1),
            ("dense, BatchNorm, ReLU", 8 * g, 4),
            ("transposed conv. 3x3 / 2,\nBatchNorm, ReLU", 4 * g, 7),
            ("transposed conv. 4x4 / 2,\nBatchNorm, ReLU", g, 14),
            ("transposed conv. 4x4 / 2,\ntanh", 1, 28),
        ],
        "discriminator": [
            ("image", 1, 28),
            ("conv. 4x4 / 2,\nLeakyReLU", d, 14),
            (f"conv. 4x4 / 2,\n{norm}LeakyReLU", 4 * d, 7),
            (f"conv. 3x3 / 2,\n{norm}LeakyReLU", 8 * d, 4),
            ("dense, LeakyReLU", trainer.discriminator.dense.out_features, 1),
            ("dense: logits,\nthe kind's counts", trainer.discriminator.logits.out_features, 1),
        ],
    }


def _csv(rows: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
