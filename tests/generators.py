"""A generator that draws strokes without having been trained."""

import torch

from dcgan.gan.networks import Generator


def make_generator(conditional: bool = True, clusters_per_class: int = 20, canvas: bool = True) -> Generator:
    """Random weights, with a last layer so strong that the canvas has black and white: as initialized, it has none."""
    torch.manual_seed(0)
    generator = Generator(16, 8, conditional, clusters_per_class, canvas).eval()
    if canvas:
        with torch.no_grad():
            generator.up4.weight *= 300
    return generator
