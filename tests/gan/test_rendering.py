import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from dcgan.data.mnist import load_split
from dcgan.gan.rendering import (
    DRAWING_SIZE,
    WHITE_FREQUENCIES,
    Rendering,
    bounding_boxes,
    ink,
    normalize_size,
    placement_loss,
)


@pytest.fixture(scope="module")
def real(mnist_dir) -> np.ndarray:
    return load_split(mnist_dir, "test")[0][:500]


def normalized(drawings: torch.Tensor) -> torch.Tensor:
    return normalize_size(drawings, bounding_boxes(drawings))


def rendered(logits: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
    drawings = ink(logits)
    return Rendering()(drawings, bounding_boxes(drawings), white)


def enlarge(digits: np.ndarray, size: int) -> torch.Tensor:
    """uint8 (N, 28, 28) to black and white drawings (N, 1, size, size), 0 or 1."""
    large = [np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.LANCZOS)) for digit in digits]
    return torch.from_numpy(np.stack(large) > 127).float()[:, None]


@pytest.mark.parametrize("size", [50, 56, 64])
def test_a_digit_of_any_size_is_brought_back_to_that_of_mnist(real, size):
    """MNIST's digits, enlarged and made black and white, come back as they were, but for the grays of their edges."""
    digits = (255 * normalized(enlarge(real, size))[:, 0]).round().numpy()
    occupied = digits > 64
    sides = np.stack([occupied.any(axis=2).sum(axis=1), occupied.any(axis=1).sum(axis=1)])
    assert (sides.max(axis=0) == 20).mean() > 0.98  # of the real ones 0.998: a thin end may fall below the threshold
    index = np.arange(28)
    for axis in (1, 2):
        center = (digits.sum(axis=axis) * index).sum(axis=1) / digits.sum(axis=(1, 2))
        assert (np.abs(center - 14) < 0.6).mean() > 0.99  # rounded to whole pixels; as drawn: up to 5 off
    # 7 or 8 gray levels in the mean; moved by one pixel: 17
    assert np.abs(digits - real).mean() < 11


def test_every_pixel_is_the_mean_of_the_area_it_covers():
    torch.manual_seed(0)
    drawing = torch.zeros(1, 1, 56, 56)
    drawing[:, :, 3:43, 9:29] = (torch.rand(1, 1, 40, 20) > 0.4).float()
    drawing[:, :, [3, 42], 9:29] = drawing[:, :, 3:43, [9, 28]] = 1.0  # the box is 40 by 20: two pixels become one
    digit = normalized(drawing)[0, 0]
    expected = drawing[0, 0, 3:43, 9:29].view(20, 2, 10, 2).mean(dim=(1, 3))
    rows, columns = digit.amax(dim=1).nonzero()[:, 0], digit.amax(dim=0).nonzero()[:, 0]
    assert (len(rows), len(columns)) == (20, 10)
    assert torch.allclose(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], expected, atol=1e-6)


@pytest.mark.parametrize("turns", range(4))
def test_a_digit_far_from_its_center_of_mass_is_moved_but_never_cut_off(turns):
    """A blot with a long tail: with the mass at (14, 14), the tail's end would be outside of the image."""
    drawing = torch.zeros(1, 1, 56, 56)
    drawing[:, :, 4:24, 4:10] = 1.0
    drawing[:, :, 13:15, 10:44] = 1.0  # the box is 40 wide: two pixels become one
    digit = normalized(drawing.rot90(turns, (2, 3)))
    assert digit.sum() == pytest.approx(float(drawing.sum()) / 4, rel=1e-5)


def test_an_empty_canvas_is_a_black_image_and_a_full_one_fits():
    assert not normalized(torch.zeros(2, 1, 56, 56)).any()
    full = normalized(torch.ones(1, 1, 56, 56))
    assert full.sum() == pytest.approx(400, rel=1e-5)  # 20 by 20 white pixels


def bar(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    drawing = torch.zeros(1, 1, 56, 56)
    drawing[:, :, top:bottom, left:right] = 1.0
    return drawing.requires_grad_()


def test_a_drawing_of_the_wanted_size_in_the_middle_has_no_placement_loss():
    margin = (56 - DRAWING_SIZE) // 2
    boxes = bounding_boxes(bar(margin, 56 - margin, 25, 31))
    assert boxes.tolist() == [[margin, 56 - margin, 25, 31]]
    assert placement_loss(boxes) == 0


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(
    ("box", "ends"),
    [
        ((5, 51, 40, 46), {"left": "grow", "right": "shrink"}),  # too far to the right
        ((15, 41, 25, 31), {"top": "grow", "bottom": "grow"}),  # too small
        ((1, 55, 25, 31), {"top": "shrink", "bottom": "shrink"}),  # too large
    ],
)
def test_the_placement_loss_moves_the_ends_of_a_drawing_toward_the_middle_and_the_wanted_size(turns, box, ends):
    """Against the gradient, ink is added outside of an end that is to grow, and removed inside of one that is not."""
    drawing = bar(*box)
    turned = drawing.rot90(turns, (2, 3))
    (gradient,) = torch.autograd.grad(placement_loss(bounding_boxes(turned)), drawing)
    top, bottom, left, right = box
    of_rows, of_columns = gradient[0, 0].sum(dim=1), gradient[0, 0].sum(dim=0)
    found = {
        "top": (of_rows[top - 1], of_rows[top]),
        "bottom": (of_rows[bottom], of_rows[bottom - 1]),
        "left": (of_columns[left - 1], of_columns[left]),
        "right": (of_columns[right], of_columns[right - 1]),
    }
    for end, direction in ends.items():
        outside, inside = found[end]
        assert (outside < 0 and inside < 0) if direction == "grow" else (outside > 0 and inside > 0)


def test_a_network_that_gives_no_numbers_gives_an_image_without_numbers():
    drawings = torch.full((2, 1, 56, 56), float("nan"))
    assert normalized(drawings).isnan().any()


def test_ink_is_black_and_white_but_has_a_gradient_everywhere():
    logits = torch.tensor([-1.0, -0.125, 0.0, 0.0625, 0.125, 1.0], requires_grad=True)
    drawn = ink(logits)
    assert torch.allclose(drawn, torch.tensor([0.0, 0.0, 0.5, 0.75, 1.0, 1.0]), atol=1e-6)
    gradient = torch.autograd.grad(drawn.sum(), logits)[0]
    smooth = torch.sigmoid(4 * logits)
    assert torch.allclose(gradient, 4 * smooth * (1 - smooth))


def test_a_digit_has_the_white_that_its_latent_selects_as_often_as_in_mnist():
    torch.manual_seed(0)
    logits = torch.full((20_000, 1, 8, 8), -1.0)
    logits[:, :, 2:6, 2:6] = 1.0
    images = rendered(logits, torch.randn(20_000))
    assert images.min() == -1
    whites = ((images.amax(dim=(1, 2, 3)) + 1) * 127.5).round().long()
    frequencies = torch.bincount(whites, minlength=256)[251:] / 20_000
    # The standard deviation of a frequency in 20,000 draws is below 0.0035.
    assert torch.allclose(frequencies, torch.tensor(WHITE_FREQUENCIES), atol=0.015)


def test_rounding_errors_do_not_move_a_digit():
    """Another processor's last bits: at most one digit of 2,000 may differ by more than one gray level."""
    torch.manual_seed(0)
    logits = interpolate(torch.randn(2000, 1, 9, 9), size=(56, 56), mode="bicubic") - 0.5
    other = logits * (1 + 1e-6 * torch.randn_like(logits))
    white = torch.randn(2000)
    difference = (rendered(logits, white) - rendered(other, white)).abs().amax(dim=(1, 2, 3))
    assert difference.max() > 0
    assert (difference > 2 / 255).sum() <= 1
