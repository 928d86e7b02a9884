import pytest
import torch

from dcgan.networks import Discriminator, Generator


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("count", [4, 8])
def test_shapes_and_ranges(conditional, count):
    torch.manual_seed(0)
    generator = Generator(latent_size=16, width=8, conditional=conditional)
    discriminator = Discriminator(width=8, conditional=conditional, norm="none", minibatch_std=True)
    labels = torch.arange(count) % 10
    images = generator(50 * torch.randn(count, 16), labels)
    assert images.shape == (count, 1, 28, 28)
    assert images.abs().max() <= 1
    assert images.abs().max() > 0.5  # large latents reach the ends of tanh: the range is used
    assert discriminator(images, labels).shape == (count, 1)


def test_conditional_networks_heed_the_label():
    torch.manual_seed(0)
    generator, discriminator = Generator(16, 8, True).eval(), Discriminator(8, True, "none", False)
    latents = torch.randn(4, 16)
    one, two = torch.full((4,), 1), torch.full((4,), 2)
    assert not torch.equal(generator(latents, one), generator(latents, two))
    images = generator(latents, one)
    assert not torch.equal(discriminator(images, one), discriminator(images, two))


def test_unconditional_networks_have_no_label_and_need_none():
    torch.manual_seed(0)
    generator, discriminator = Generator(16, 8, False).eval(), Discriminator(8, False, "none", False)
    assert discriminator(generator(torch.randn(4, 16))).shape == (4, 1)
    assert generator.dense.in_features == 16
    assert discriminator.logits.out_features == 1


def learn_to_use_std(discriminator: Discriminator) -> None:
    """The weight of the std starts at zero; a trained one has another value."""
    if discriminator.std_weight is not None:
        discriminator.std_weight.data.fill_(1.0)


def test_minibatch_std_sees_that_a_group_is_all_alike():
    """Four copies of an image and that image among three others get different logits only through the std feature."""
    torch.manual_seed(0)
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    copies = images[:1].repeat(4, 1, 1, 1)
    for minibatch_std, differs in ((True, True), (False, False)):
        discriminator = Discriminator(8, False, "none", minibatch_std)
        learn_to_use_std(discriminator)
        alone, among = discriminator(copies)[0], discriminator(images)[0]
        assert (not torch.allclose(alone, among, atol=1e-5)) == differs


def test_minibatch_std_does_not_reach_across_groups():
    torch.manual_seed(0)
    discriminator = Discriminator(8, False, "none", True)
    learn_to_use_std(discriminator)
    images = torch.rand(8, 1, 28, 28)
    changed = torch.cat([images[:4], torch.rand(4, 1, 28, 28)])
    assert torch.allclose(discriminator(images)[:4], discriminator(changed)[:4], atol=1e-5)


def test_batch_norm_is_there_when_asked_for():
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, False, "batch", False).modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, False, "none", False).modules())


def test_no_pooling_anywhere():
    for network in (Generator(16, 8, True), Discriminator(8, True, "batch", True)):
        assert not any("Pool" in type(module).__name__ for module in network.modules())
