import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from dcgan.gan.losses import discriminator_loss, generator_loss, r1_penalty


def test_losses_of_an_undecided_discriminator_are_multiples_of_log_two():
    zeros = torch.zeros(5, 1)
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2), abs=1e-6)
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2), abs=1e-6)


def test_losses_are_binary_cross_entropy_of_logits():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(64, 1, generator=generator) * 3, torch.randn(64, 1, generator=generator) * 3
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    expected = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(fake, zeros)
    assert float(discriminator_loss(real, fake)) == pytest.approx(float(expected), abs=1e-6)
    assert float(generator_loss(fake)) == pytest.approx(float(binary_cross_entropy_with_logits(fake, ones)), abs=1e-6)


def test_generator_loss_keeps_its_gradient_where_the_saturating_loss_vanishes():
    """At a logit of -20, log(1 - sigmoid) has a gradient of 2e-9; the non-saturating loss has one of -1."""
    logit = torch.full((1, 1), -20.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator_loss(logit), logit)
    assert float(gradient) == pytest.approx(-1, abs=1e-6)


def test_losses_stay_finite_at_extreme_logits():
    extreme = torch.tensor([[1e4], [-1e4]])
    assert torch.isfinite(discriminator_loss(extreme, extreme))
    assert torch.isfinite(generator_loss(extreme))


def test_r1_of_a_linear_discriminator_is_its_squared_weight_norm():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(784, generator=generator)
    images = torch.randn(6, 1, 28, 28, generator=generator).requires_grad_()
    penalty = r1_penalty(images, images.flatten(1) @ weight[:, None])
    assert float(penalty) == pytest.approx(float(weight.square().sum()), rel=1e-5)


def test_r1_is_differentiable_with_respect_to_the_discriminator():
    scale = torch.tensor(3.0, requires_grad=True)
    images = torch.zeros(4, 1, 28, 28, requires_grad=True)
    penalty = r1_penalty(images, scale * images.sum(dim=(1, 2, 3))[:, None])  # |grad|^2 = 784 scale^2
    (gradient,) = torch.autograd.grad(penalty, scale)
    assert float(gradient) == pytest.approx(2 * 784 * 3.0, rel=1e-5)
