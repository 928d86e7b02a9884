"""Figures of a training run: curves and the diagram of the networks. The same values give the same bytes."""

import io
from itertools import cycle

import matplotlib
import numpy as np

from dcgan.gan.network_summary import NetworkSummary, diagram_blocks, shape_text

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

BLOCK_COLORS = ("#8ecae6", "#ffd166")
ARROW_LENGTH = 1.15  # a 28x28 feature map is 1.5 wide


def curves(rows: list[dict[str, float]]) -> bytes:
    """The series of a training run by images seen: losses, discriminator accuracy, gradient norms, variety."""
    panels = {
        "loss": ("loss_d", "loss_g"),
        "discriminator accuracy": ("acc_real", "acc_fake"),
        "gradient norm": ("grad_norm_d", "grad_norm_g"),
        "variety within a label, generated / real": ("variety",),
    }
    seen = [row["images"] for row in rows]
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), sharex=True, layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            axis.plot(seen, [row[name] for row in rows], label=name, linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 1].axhline(0.5, color="gray", linestyle=":", linewidth=1)
    axes[0, 1].set_ylim(0, 1)
    axes[1, 0].set_yscale("log")
    for axis in axes[1]:
        axis.set_xlabel("real images seen")
    return _figure_bytes(figure)


def networks_picture(summaries: dict[str, NetworkSummary]) -> bytes:
    """The feature maps of each network as blocks, one row per network, with the operations between them."""
    figure, axes = plt.subplots(
        len(summaries), 1, figsize=(12, 2.6 * len(summaries)), sharex=True, layout="constrained"
    )
    widths = []
    for axis, color, (name, summary) in zip(np.atleast_1d(axes), cycle(BLOCK_COLORS), summaries.items(), strict=False):
        right = _draw_block(axis, 0.0, summary.input_shape, color, ", ".join(summary.inputs))
        for operations, shape in diagram_blocks(summary):
            tip = right + ARROW_LENGTH
            axis.annotate("", (tip, 0), (right + 0.1, 0), arrowprops={"arrowstyle": "->", "color": "#555555"})
            text = "\n".join(operation.replace(" ", "\n", 1) for operation in operations)
            axis.text((right + 0.1 + tip) / 2, 0.1, text, ha="center", va="bottom", fontsize=7.5)
            right = _draw_block(axis, tip + 0.1, shape, color)
        widths.append(right)
        axis.set_ylim(-1.35, 0.95)
        axis.set_aspect("equal")
        axis.set_title(name, loc="left", fontsize=11)
        axis.axis("off")
    np.atleast_1d(axes)[0].set_xlim(-0.3, max(widths) + 0.1)
    return _figure_bytes(figure)


def _draw_block(axis: plt.Axes, left: float, shape: tuple[int, ...], color: str, caption: str = "") -> float:
    """A block for a feature map (C, H, W), its depth by channels, or a bar for a vector (C,). Returns its right end."""
    side = 0.3 + 1.2 * shape[-1] / 28 if len(shape) == 3 else 0.12
    height = side if len(shape) == 3 else 0.3 + np.log2(shape[0]) / 7
    depth = np.log2(shape[0]) / 22 if len(shape) == 3 else 0.0
    bottom, top = -height / 2, height / 2
    front = [(left, bottom), (left + side, bottom), (left + side, top), (left, top)]
    roof = [(left, top), (left + side, top), (left + side + depth, top + depth), (left + depth, top + depth)]
    flank = [(left + side, bottom), (left + side + depth, bottom + depth), (left + side + depth, top + depth), front[2]]
    for corners, shade in ((front, 1.0), (roof, 0.8), (flank, 0.6)):
        face = tuple(shade * channel for channel in to_rgb(color))
        axis.add_patch(plt.Polygon(corners, facecolor=face, edgecolor="#333333", linewidth=0.8))
    text = f"{shape_text(shape)}\n{caption}".rstrip()
    axis.text(left + (side + depth) / 2, -0.9, text, ha="center", va="top", fontsize=8)
    return left + side + depth


def _figure_bytes(figure: plt.Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})  # the version would change the bytes
    plt.close(figure)
    return buffer.getvalue()
