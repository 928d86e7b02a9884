import io

import numpy as np
from PIL import Image

from dcgan.gan.networks import Generator
from dcgan.gan.plots import curves, layer_table, networks_picture, networks_text
from dcgan.images import animation, digit_grid, grid, png


def test_a_grid_puts_images_in_reading_order():
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), dtype=np.uint8)
    picture = grid(images, columns=3)
    assert picture.shape == (2 * 29 - 1, 3 * 29 - 1)
    corners = [picture[row, column] for row in (0, 29) for column in (0, 29, 58)]
    assert corners == [0, 1, 2, 3, 4, 5]


def test_grid_has_a_row_a_digit_in_order():
    labels = np.tile(np.arange(10), 30)
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None], (300, 28, 28))
    shown = digit_grid(images, labels, columns=20)
    assert shown[:, 0, 0].tolist() == [digit for digit in range(10) for _ in range(20)]


def test_grid_stays_black_where_a_digit_is_too_rare():
    labels = np.repeat(np.arange(10), 30)[5:]  # 25 zeros
    images = np.full((295, 28, 28), 255, dtype=np.uint8)
    rows = digit_grid(images, labels, columns=28).reshape(10, 28, -1).any(axis=2).sum(axis=1)
    assert rows.tolist() == [25] + 9 * [28]
    assert digit_grid(images, None, columns=30).any(axis=(1, 2)).sum() == 295


def test_a_png_holds_the_pixels_it_was_given():
    picture = np.random.default_rng(0).integers(0, 256, (57, 86), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(png(picture))))
    assert np.array_equal(shown[::2, ::2], picture)


def test_an_animation_has_a_frame_for_each_picture():
    pictures = [np.full((40, 40), value, dtype=np.uint8) for value in (0, 90, 250)]
    with Image.open(io.BytesIO(animation(pictures))) as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0


def test_pictures_are_the_same_bytes_again():
    names = ("loss_d", "loss_g", "acc_real", "acc_fake", "grad_norm_d", "grad_norm_g", "variety")
    rows = [{"step": i, "images": i * 64, **dict.fromkeys(names, 0.5 + i / 100)} for i in range(1, 20)]
    assert curves(rows) == curves(rows)
    boxes = {"generator": [("dense", 16, 7), ("up", 1, 28)], "discriminator": [("image", 1, 28)]}
    assert networks_picture(boxes) == networks_picture(boxes)


def test_the_summary_counts_every_parameter():
    generator = Generator(16, 8, True, 10)
    total = sum(tensor.numel() for tensor in generator.parameters())
    rows = layer_table("generator", generator)
    assert rows[-1] == ("generator", "total", "", total)
    assert sum(row[3] for row in rows[:-1]) == total
    assert f"{total:,}" in networks_text({"generator": generator})
