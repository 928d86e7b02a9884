"""What is measured on a digit is what the sliders are named after."""

import numpy as np
import pytest
from handwriting import QUALITIES, measure


def bar(width: float = 4, shear: float = 0) -> np.ndarray:
    """An upright bar of 20 rows, each shifted to the right by `shear` per row upward; edges are antialiased."""
    row, column = np.mgrid[:28, :28]
    distance = np.abs(column - 13.5 - shear * (13.5 - row))
    ink = np.clip(width / 2 + 0.5 - distance, 0, 1) * ((row >= 4) & (row < 24))
    return np.rint(255 * ink).astype(np.uint8)


def measured(quality: str, *images: np.ndarray) -> np.ndarray:
    return measure(np.stack(images))[:, QUALITIES.index(quality)]


def test_slant_is_the_shear_and_positive_to_the_right():
    assert measured("slant", bar(), bar(shear=0.3), bar(shear=-0.3)) == pytest.approx([0, 0.3, -0.3], abs=0.01)


def test_boldness_is_the_width_of_the_stroke_whatever_the_slant():
    # 20 rows of 2, 4 and 6 pixels: 2 * area / (2 * 20 + 2 * width)
    assert measured("boldness", bar(2), bar(4), bar(6)) == pytest.approx([80 / 44, 160 / 48, 240 / 52], rel=0.02)


def test_width_does_not_depend_on_slant():
    narrow, wide, slanted = measured("width", bar(4), bar(12), bar(12, shear=0.3))
    assert wide == pytest.approx(3 * narrow, rel=0.05)
    assert slanted == pytest.approx(wide, rel=0.02)
