"""From a drawing on a large canvas to a digit as MNIST made them (LeCun et al. 1998).

Each of MNIST's digits was a black and white image of another size. It was scaled until its longer side was 20 pixels,
which made the grays along its edges, and moved by whole pixels until its center of mass was at pixel (14, 14). A
network of small convolutions learns neither well: it cannot measure a digit. So the generator draws in nearly black and
white, at more than twice the size, and this module does the rest.

Gradients flow through the gray levels, not through the geometry. The geometry is computed from whole numbers, so that
rounding errors of another processor do not move a digit.
"""

import torch
from torch import Tensor, nn

IMAGE_SIZE = 28
CANVAS_SIZE = 56
DIGIT_SIZE = 20  # pixels of a digit's longer side
DRAWING_SIZE = 50  # canvas pixels of a drawing's longer side: `placement_loss` asks for it
HALF = 127  # of 255 gray levels: pixels with more are the drawing that the bounding box holds

# How often the white of an MNIST digit, the commonest of its bright gray levels, is 251, 252, 253, 254 and 255.
DARKEST_WHITE = 251
WHITE_FREQUENCIES = (0.025, 0.213, 0.430, 0.279, 0.053)


class Rendering(nn.Module):
    """Drawings, (N, 1, 56, 56) in [0, 1], to images, (N, 1, 28, 28) in [-1, 1]; `white` (N,) ~ N(0, 1).

    `boxes` are the drawings' `bounding_boxes`. Every digit gets one level of white, the quantile of MNIST's levels that
    `white` selects.
    """

    def __init__(self) -> None:
        super().__init__()
        below = torch.tensor(WHITE_FREQUENCIES, dtype=torch.float64, device="cpu").cumsum(0)[:-1]
        self.register_buffer("white_bounds", torch.special.ndtri(below).float(), persistent=False)

    def forward(self, drawings: Tensor, boxes: Tensor, white: Tensor) -> Tensor:
        level = DARKEST_WHITE + (white[:, None] > self.white_bounds).sum(dim=1)
        white_digits = normalize_size(drawings, boxes) * (level.to(drawings.dtype) / 255)[:, None, None, None]
        return 2 * white_digits - 1


def ink(logits: Tensor) -> Tensor:
    """Logits to ink, 0 to 1: none below -1/8, full above 1/8, in proportion between them.

    Where this function is flat it has no gradient, and a stroke could never begin. So the gradient is that of the
    sigmoid of 4 times the logits (a straight-through estimator, Bengio et al. 2013).
    """
    smooth = torch.sigmoid(4 * logits)
    return smooth + ((0.5 + 4 * logits).clamp(0, 1) - smooth).detach()


def bounding_boxes(drawings: Tensor) -> Tensor:
    """Top, bottom, left and right of drawings, (N, 1, S, S) in [0, 1]: whole numbers with a gradient, (N, 4).

    An empty drawing has the box of a full one.
    """
    pixels = drawings[:, 0]
    occupied = _gray_levels(pixels) > HALF
    rows, columns = _ends(pixels, occupied.any(dim=2)), _ends(pixels.mT, occupied.any(dim=1))
    return torch.stack([*rows, *columns], dim=1)


def placement_loss(boxes: Tensor) -> Tensor:
    """How far bounding boxes, (N, 4), are from a longer side of `DRAWING_SIZE` in the middle: a mean of squares.

    The image is the same wherever a drawing is and however large, so the discriminator says nothing about either.
    Without this loss drawings drift during a long training until they meet the edge of the canvas.
    """
    starts, ends = boxes[:, 0::2], boxes[:, 1::2]  # (N, 2): along rows, along columns
    longer = (ends - starts).amax(dim=1)
    off_center = (starts + ends - CANVAS_SIZE) / 2
    return ((longer / DRAWING_SIZE - 1).square() + (off_center / DRAWING_SIZE).square().sum(dim=1)).mean()


def normalize_size(drawings: Tensor, boxes: Tensor) -> Tensor:
    """Scale drawings, (N, 1, S, S) in [0, 1], to a longer side of 20 pixels and center their mass: (N, 1, 28, 28).

    Each pixel is the mean of the area of the drawing that it covers, as matrix products along rows and columns.
    """
    pixels = drawings[:, 0]
    levels = _gray_levels(pixels)
    top, bottom, left, right = boxes.detach().double().unbind(dim=1)
    longer = torch.maximum(bottom - top, right - left)
    rows = _resampling(levels.sum(dim=2), top, bottom - top, longer).to(pixels.dtype)
    columns = _resampling(levels.sum(dim=1), left, right - left, longer).to(pixels.dtype)
    return (rows @ pixels @ columns.mT)[:, None]


def _gray_levels(pixels: Tensor) -> Tensor:
    """0 to 255, whole. What is not a number, as a diverged network gives, becomes 0: geometry needs numbers."""
    return (255 * pixels.detach()).round().nan_to_num()


def _ends(pixels: Tensor, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rows of drawings (N, S, S) that are `occupied` (N, S) begin and end, (N,) each.

    An end moves by one row as the largest ink of the row inside of it, or outside, changes from none to full.
    """
    size = occupied.shape[1]
    index = torch.arange(size, device=occupied.device)
    last = torch.where(occupied, index, -1).amax(dim=1)
    empty = last < 0
    begin = torch.where(occupied, index, size).amin(dim=1).masked_fill(empty, 0)
    end = (last + 1).masked_fill(empty, size)
    rows = torch.stack([begin - 1, begin, end - 1, end], dim=1)
    inside = (rows >= 0) & (rows < size)
    chosen = rows.clamp(0, size - 1)[:, :, None].expand(-1, -1, size)
    peaks = pixels.gather(1, chosen).amax(dim=2) * inside  # (N, 4)
    near, far = peaks[:, :2].sum(dim=1), peaks[:, 2:].sum(dim=1)
    return begin - (near - near.detach()), end + (far - far.detach())


def _resampling(mass: Tensor, first: Tensor, length: Tensor, longer: Tensor) -> Tensor:
    """The matrices that take one axis of each canvas to that of its image: float32 (N, 28, S).

    Args:
        mass: sum of the gray levels in each row, (N, S), whole numbers.
        first, length: the digit's extent along this axis, float64 (N,).
        longer: the longer of its two extents, float64 (N,).
    """
    mass = mass.double()
    index = torch.arange(mass.shape[1], dtype=torch.float64, device=mass.device)
    target = torch.floor((2 * DIGIT_SIZE * length + longer) / (2 * longer)).clamp(min=1)  # rounded to whole pixels
    total = mass.sum(dim=1).clamp(min=1)
    moment = (mass * index).sum(dim=1)
    # The center of mass in target pixels from the digit's first one is numerator / denominator; both are whole numbers
    # below 2**53, so that float64 holds them exactly.
    numerator = (2 * (moment - first * total) + total) * target - total * length
    denominator = 2 * total * length
    offset = torch.floor((29 * denominator - 2 * numerator) / (2 * denominator))  # it falls within 13.5 to 14.5
    offset = torch.minimum(offset.clamp(min=0), IMAGE_SIZE - target)

    pixel = torch.arange(IMAGE_SIZE, dtype=torch.float64, device=mass.device)
    scale = (length / target)[:, None]
    start = first[:, None] + (pixel - offset[:, None]) * scale  # where each pixel begins on the canvas, (N, 28)
    start, end, scale, index = (tensor.float() for tensor in (start, start + scale, scale, index))
    covered = torch.minimum(end[:, :, None], index + 1).sub_(torch.maximum(start[:, :, None], index))
    return covered.clamp_(min=0).div_(scale[:, :, None])
