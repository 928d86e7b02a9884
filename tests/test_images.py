import io

import numpy as np
from PIL import Image, ImageSequence

from dcgan.images import animation, digit_grid, grid, png, side_by_side


def test_a_grid_puts_images_in_reading_order():
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), dtype=np.uint8)
    picture = grid(images, columns=3)
    assert picture.shape == (2 * 29 - 1, 3 * 29 - 1)
    corners = [picture[row, column] for row in (0, 29) for column in (0, 29, 58)]
    assert corners == [0, 1, 2, 3, 4, 5]


def test_a_digit_grid_has_one_row_per_digit_in_order():
    labels = np.tile(np.arange(10), 30)
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None], (300, 28, 28))
    shown = digit_grid(images, labels, columns=20)
    assert shown[:, 0, 0].tolist() == [digit for digit in range(10) for _ in range(20)]


def test_a_digit_grid_stays_black_where_there_are_too_few_images():
    labels = np.repeat(np.arange(10), 30)[5:]  # 25 zeros
    images = np.full((295, 28, 28), 255, dtype=np.uint8)
    rows = digit_grid(images, labels, columns=28).reshape(10, 28, -1).any(axis=2).sum(axis=1)
    assert rows.tolist() == [25] + 9 * [28]
    assert digit_grid(images, None, columns=30).any(axis=(1, 2)).sum() == 295


def test_a_png_holds_the_pixels_it_was_given():
    picture = np.random.default_rng(0).integers(0, 256, (57, 86), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(png(picture))))
    assert np.array_equal(shown[::2, ::2], picture)
    assert np.array_equal(shown[1::2, 1::2], picture)


def test_an_animation_has_one_frame_per_picture_and_repeats():
    pictures = [np.full((40, 40), value, dtype=np.uint8) for value in (0, 90, 250)]
    with Image.open(io.BytesIO(animation(pictures))) as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0
        shown = []
        for frame in ImageSequence.Iterator(gif):
            shown.append((int(np.asarray(frame.convert("L"))[0, 0]), gif.info["duration"]))
    assert shown == [(0, 400), (90, 400), (250, 1600)]


def test_pictures_side_by_side_have_a_white_gap_between_them():
    row = side_by_side([np.full((5, 7), 10, dtype=np.uint8), np.full((5, 3), 20, dtype=np.uint8)])
    assert row.shape[0] == 5
    assert (row[:, :7] == 10).all()
    assert (row[:, 7:-3] == 255).all()
    assert row[:, 7:-3].size > 0
    assert (row[:, -3:] == 20).all()
