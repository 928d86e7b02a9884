import pytest
import torch

from dcgan.gan.networks import Discriminator, Generator

ONE_KIND = torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("count", [4, 8])
def test_shapes_and_ranges(conditional, count):
    torch.manual_seed(0)
    generator = Generator(latent_size=16, width=8, conditional=conditional, clusters_per_class=2 if conditional else 20)
    discriminator = Discriminator(width=8, clusters=20, norm="none", minibatch_std=True)
    labels = torch.arange(count) % 10
    images = generator(50 * torch.randn(count, 16), labels)
    assert images.shape == (count, 1, 28, 28)
    assert images.abs().max() <= 1
    assert images.abs().max() > 0.5  # large latents reach the ends of tanh: the range is used
    assert discriminator(images, labels).shape == (count, 1)


def test_conditional_networks_heed_the_label():
    torch.manual_seed(0)
    generator, discriminator = Generator(16, 8, True, 10).eval(), Discriminator(8, 10, "none", False)
    latents = torch.randn(4, 16)
    one, two = torch.full((4,), 1), torch.full((4,), 2)
    assert not torch.equal(generator(latents, one), generator(latents, two))
    images = generator(latents, one)
    assert not torch.equal(discriminator(images, one), discriminator(images, two))


def test_an_unconditional_generator_needs_no_label_and_heeds_none():
    torch.manual_seed(0)
    generator, latents = Generator(16, 8, False, 20).eval(), torch.randn(4, 16)
    assert torch.equal(generator(latents), generator(latents, torch.arange(4)))


@pytest.mark.parametrize("conditional", [True, False])
def test_kinds_come_as_often_as_they_were_counted(conditional):
    """The kind is read off the picture: only the first latent value differs, so each kind draws one picture."""
    torch.manual_seed(0)
    generator = Generator(16, 8, conditional, 30).eval()
    labels = 10 if conditional else 1
    counts = torch.tensor([5, 0, 15] * 10)  # a quarter, nothing and three quarters of each label
    generator.set_cluster_frequencies(counts)
    latents = torch.zeros(4000, 16)
    latents[:, 0] = torch.randn(4000)
    asked = torch.full((4000,), 7 if conditional else 0)
    pictures = generator(latents, asked)
    possible = generator.forward_clusters(torch.zeros(30, 16), torch.arange(30))
    drawn = torch.cdist(pictures.flatten(1), possible.flatten(1)).argmin(dim=1)
    shares = torch.bincount(drawn, minlength=30) / 4000
    expected = counts.view(labels, -1) / counts.view(labels, -1).sum(dim=1, keepdim=True)
    if conditional:
        expected[torch.arange(10) != 7] = 0
    # The standard deviation of a share of 4,000 draws is below 0.007.
    assert torch.allclose(shares, expected.flatten(), atol=0.03)
    assert (shares[expected.flatten() == 0] == 0).all()


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
        discriminator = Discriminator(8, 1, "none", minibatch_std)
        learn_to_use_std(discriminator)
        alone, among = discriminator(copies, ONE_KIND[:4])[0], discriminator(images, ONE_KIND[:4])[0]
        assert (not torch.allclose(alone, among, atol=1e-5)) == differs


def test_minibatch_std_does_not_reach_across_groups():
    torch.manual_seed(0)
    discriminator = Discriminator(8, 1, "none", True)
    learn_to_use_std(discriminator)
    images = torch.rand(8, 1, 28, 28)
    changed = torch.cat([images[:4], torch.rand(4, 1, 28, 28)])
    assert torch.allclose(discriminator(images, ONE_KIND)[:4], discriminator(changed, ONE_KIND)[:4], atol=1e-5)


def test_batch_norm_is_there_when_asked_for():
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, 1, "batch", False).modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, 1, "none", False).modules())


def test_no_pooling_anywhere():
    for network in (Generator(16, 8, True, 10), Discriminator(8, 10, "batch", True)):
        assert not any("Pool" in type(module).__name__ for module in network.modules())
