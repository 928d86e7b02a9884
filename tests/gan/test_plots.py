import io

import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image

from dcgan.gan.network_summary import summarize
from dcgan.gan.networks import Discriminator, Generator
from dcgan.gan.plots import curves, networks_picture

NAMES = ("loss_d", "loss_g", "acc_real", "acc_fake", "grad_norm_d", "grad_norm_g", "variety")
CLUSTERS = torch.zeros(4, dtype=torch.int64)


def picture(**discriminator) -> bytes:
    arguments = {
        "width": 8,
        "clusters": 10,
        "norm": "none",
        "minibatch_std": True,
        "full_resolution": True,
    } | discriminator
    return networks_picture(
        {
            "generator": summarize(Generator(16, 8, True, 1, True), torch.zeros(4, 16), CLUSTERS),
            "discriminator": summarize(Discriminator(**arguments), torch.zeros(4, 1, 28, 28), CLUSTERS),
        }
    )


def test_figures_are_identical_bytes_when_drawn_again():
    rows = [{"step": i, "images": i * 64, **dict.fromkeys(NAMES, 0.5 + i / 100)} for i in range(1, 20)]
    assert curves(rows) == curves(rows)
    assert picture() == picture()


def test_each_curve_shows_the_series_that_its_legend_names(monkeypatch):
    monkeypatch.setattr("dcgan.gan.plots._figure_bytes", lambda figure: figure)
    rows = [{"images": i * 64} | {name: i + 10 * n for n, name in enumerate(NAMES)} for i in range(1, 5)]
    figure = curves(rows)
    lines = [line for axis in figure.axes for line in axis.get_lines() if not line.get_label().startswith("_")]
    pyplot.close(figure)
    assert sorted(line.get_label() for line in lines) == sorted(NAMES)
    for line in lines:
        assert list(line.get_xdata()) == [row["images"] for row in rows]
        assert list(line.get_ydata()) == [row[line.get_label()] for row in rows]


def test_the_picture_of_the_networks_shows_their_layers():
    """Another norm changes the operations in the lower half of the picture, which is the discriminator's."""
    plain, batch_norm = (np.asarray(Image.open(io.BytesIO(picture(norm=norm)))) for norm in ("none", "batch"))
    middle = len(plain) // 2
    assert plain.shape == batch_norm.shape
    assert np.array_equal(plain[:middle], batch_norm[:middle])
    assert not np.array_equal(plain[middle:], batch_norm[middle:])
