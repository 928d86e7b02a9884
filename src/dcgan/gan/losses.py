"""Adversarial objectives as pure functions of logits.

The non-saturating loss (Goodfellow et al. 2014) with the zero-centered gradient penalty R1 (Mescheder et al. 2018).
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Loss of the discriminator: mean cross-entropy of calling reals real and fakes fake.

    Args:
        real_logits, fake_logits: (N, 1), any real number; positive means "real".
    Returns:
        a scalar, at least 0; 2 log 2 = 1.386 when it cannot tell them apart.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()  # -log(sigmoid(r)) - log(1 - sigmoid(f))


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator: cross-entropy of its fakes being called real.

    Args:
        fake_logits: (N, 1).
    Returns:
        a scalar, at least 0; log 2 = 0.693 when the discriminator cannot tell them apart.
    """
    return softplus(-fake_logits).mean()  # -log(sigmoid(f))


def r1_penalty(real_images: Tensor, real_logits: Tensor) -> Tensor:
    """Zero-centered gradient penalty on real images, before its weight gamma / 2.

    Args:
        real_images: (N, 1, 28, 28) with `requires_grad`, from which `real_logits` were computed.
        real_logits: (N, 1).
    Returns:
        a scalar, at least 0: squared norm of the logit's gradient with respect to the pixels, averaged over the
        images. It is differentiable; that double backward pass costs about two ordinary discriminator steps.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()  # E |grad D(x)|^2
