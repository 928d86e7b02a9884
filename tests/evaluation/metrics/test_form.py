"""Form and tone, on drawn images whose scores are known."""

import numpy as np
import pytest

from dcgan.evaluation.metrics.form import (
    box_fraction,
    centered_fraction,
    flat_stroke_fraction,
    form_scores,
    gray_distance,
    high_frequency_power,
    near_black_fraction,
    stray_part_fraction,
)


def box(top: int, left: int, height: int, width: int, level: int = 253) -> np.ndarray:
    image = np.zeros((28, 28), dtype=np.uint8)
    image[top : top + height, left : left + width] = level
    return image


EMPTY = box(0, 0, 0, 0)


@pytest.mark.parametrize(
    "height, width, level, expected",
    [(20, 5, 65, 1), (7, 20, 255, 1), (19, 5, 255, 0), (21, 20, 255, 0), (20, 5, 64, 0)],
)
def test_the_box_is_that_of_pixels_above_level_64_and_its_longer_side_counts(height, width, level, expected):
    assert box_fraction(np.stack([box(3, 3, height, width, level)])) == expected


def test_an_empty_image_has_neither_box_nor_center_nor_strokes():
    assert form_scores(np.stack([EMPTY] * 2), np.stack([box(4, 9, 20, 10)] * 2)) == pytest.approx(
        {
            "box_20": 0,
            "centered": 0,
            "stray_parts": 0,
            "gray_distance": 200 / 784,
            "near_black": 0,
            "flat_strokes": 0,
            "high_frequencies": 0,
        }
    )


def test_centered_is_within_half_a_pixel_in_both_directions():
    """A box of 20x10 with its first pixel at (4, 9) has its center of mass at (13.5, 13.5)."""
    tops_and_lefts = [(4, 9), (5, 9), (4, 10), (5, 10), (6, 9), (3, 9), (4, 11), (4, 8)]
    images = np.stack([box(*place, 20, 10) for place in tops_and_lefts])
    assert [centered_fraction(image[None]) for image in images] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert centered_fraction(images) == 0.5


def test_parts_are_connected_by_corners_too_but_not_from_image_to_image():
    whole, corner, stray, faint = (box(4, 4, 10, 3) for _ in range(4))
    corner[14, 7] = 100
    stray[14, 8] = 33
    faint[14, 8] = 32
    assert stray_part_fraction(np.stack([whole, corner, stray, faint])) == 0.25


def test_the_gray_distance_is_the_fraction_of_pixels_that_would_have_to_change():
    images = np.stack([box(0, 0, 28, 14, 253), box(0, 0, 28, 14, 254)])
    assert gray_distance(images, images[::-1]) == 0
    assert gray_distance(images[:1], images[1:]) == pytest.approx(0.5)
    assert gray_distance(images[:1], images) == pytest.approx(0.25)


def test_near_black_is_1_to_16():
    image = np.zeros((1, 28, 28), dtype=np.uint8)
    image[0, 0, :5] = 1, 16, 17, 255, 0
    assert near_black_fraction(image) == pytest.approx(2 / 784)


def test_strokes_are_flat_where_bright_pixels_share_a_level():
    uneven = box(0, 0, 1, 4)
    uneven[0, :4] = 201, 230, 253, 253
    dark = box(0, 0, 5, 5, 200)  # has no bright pixel: left out
    assert flat_stroke_fraction(np.stack([uneven])) == 0.5
    assert flat_stroke_fraction(np.stack([uneven, box(2, 2, 9, 9), dark])) == 0.75


def test_high_frequencies_are_those_of_stripes_one_pixel_wide():
    """Vertical stripes of 255 and 0: half of the power is at 14 cycles, (784 x 127.5)^2; the rest is the mean."""
    stripes = np.zeros((1001, 28, 28), dtype=np.uint8)  # one more than a chunk
    stripes[:, :, ::2] = 255
    cycles = np.fft.fftfreq(28, 1 / 28)
    frequencies = (np.hypot(cycles[:, None], cycles) >= 14).sum()
    assert high_frequency_power(stripes) == pytest.approx((784 * 127.5) ** 2 / frequencies)
    wide = np.zeros((1, 28, 28), dtype=np.uint8)
    wide[:, :, np.arange(28) % 4 < 2] = 255  # 7 cycles and no odd multiple in reach
    assert high_frequency_power(wide) < 1e-6 * high_frequency_power(stripes)


def test_real_digits_have_the_form_that_mnist_gave_them(mnist):
    scores = form_scores(mnist[0].images[:2000], mnist[1].images)
    assert scores["box_20"] > 0.995 and scores["centered"] == 1
    assert scores["stray_parts"] < 0.04 and scores["gray_distance"] < 0.015
    assert scores["near_black"] == pytest.approx(0.0115, abs=0.001)
    assert scores["flat_strokes"] == pytest.approx(0.545, abs=0.015)
    assert scores["high_frequencies"] == pytest.approx(1, abs=0.05)
