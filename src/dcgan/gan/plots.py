"""Figures of a training: curves and network diagrams. The same numbers give the same bytes."""

import io

import matplotlib
import numpy as np
from torch import nn

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def curves(rows: list[dict[str, float]]) -> bytes:
    """The training's series over the images seen: losses, the discriminator's accuracy, gradient norms, variety."""
    panels = {
        "loss": ("loss_d", "loss_g"),
        "discriminator's accuracy": ("acc_real", "acc_fake"),
        "gradient norm": ("grad_norm_d", "grad_norm_g"),
        "variety within a label, fakes / reals": ("variety",),
    }
    seen = [row["images"] for row in rows]
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), sharex=True, layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            axis.plot(seen, [row[name] for row in rows], label=name, linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 1].axhline(0.5, color="grey", linestyle=":", linewidth=1)
    axes[0, 1].set_ylim(0, 1)
    axes[1, 0].set_yscale("log")
    for axis in axes[1]:
        axis.set_xlabel("real images seen")
    return _figure_bytes(figure)


def layer_table(name: str, network: nn.Module) -> list[tuple[str, str, str, int]]:
    """(name, layer, weight shapes, parameters) for each layer that has weights, and a total."""
    rows = []
    for path, module in network.named_modules():
        weights = list(module.named_parameters(recurse=False))
        if weights:
            shapes = ", ".join("x".join(map(str, tensor.shape)) for _, tensor in weights)
            rows.append((f"{name}.{path}", type(module).__name__, shapes, sum(t.numel() for _, t in weights)))
    rows.append((name, "total", "", sum(row[3] for row in rows)))
    return rows


def networks_text(networks: dict[str, nn.Module]) -> str:
    """A summary of the networks: a line a layer, with weight shapes and parameter counts."""
    lines = [f"{'layer':<28}{'type':<18}{'weight shapes':<36}{'parameters':>11}"]
    for name, network in networks.items():
        lines.append("")
        lines += [f"{a:<28}{b:<18}{c:<36}{d:>11,}" for a, b, c, d in layer_table(name, network)]
    return "\n".join(lines) + "\n"


def networks_picture(stages: dict[str, list[tuple[str, int, int]]]) -> bytes:
    """The feature maps of each network as boxes in order; `stages` gives (operation, channels, side) for each."""
    figure, axes = plt.subplots(len(stages), 1, figsize=(11, 5.5), layout="constrained")
    for axis, (name, boxes) in zip(np.atleast_1d(axes), stages.items(), strict=True):
        left = 0.0
        for operation, channels, side in boxes:
            width, height = 0.25 + np.log2(channels + 1) / 8, 0.25 + side / 28
            axis.add_patch(plt.Rectangle((left, -height / 2), width, height, facecolor="#8ecae6", edgecolor="#023047"))
            axis.text(left + width / 2, 0, f"{channels}\n{side}x{side}", ha="center", va="center", fontsize=8)
            axis.text(left + width / 2, -height / 2 - 0.08, operation, ha="center", va="top", fontsize=7)
            left += width + 0.9
        axis.set_xlim(-0.4, left)
        axis.set_ylim(-1.3, 0.8)
        axis.set_title(name, loc="left", fontsize=11)
        axis.axis("off")
    return _figure_bytes(figure)


def _figure_bytes(figure: plt.Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})  # the version would change the bytes
    plt.close(figure)
    return buffer.getvalue()
