import pytest
import torch
from generators import make_generator
from torch.nn.functional import leaky_relu

from dcgan.gan.networks import Discriminator, Generator

CLUSTER_0 = torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("canvas", [True, False])
@pytest.mark.parametrize("count", [4, 8])
def test_shapes_and_ranges(conditional, canvas, count):
    generator = make_generator(conditional, clusters_per_class=2 if conditional else 20, canvas=canvas).train()
    discriminator = Discriminator(width=8, clusters=20, norm="none", minibatch_std=True, full_resolution=canvas)
    labels = torch.arange(count) % 10
    images = generator(50 * torch.randn(count, 16), labels)
    assert images.shape == (count, 1, 28, 28)
    assert images.abs().max() <= 1
    assert images.abs().max() > 0.5  # large latents reach the ends of tanh: the range is used
    assert discriminator(images, labels).shape == (count, 1)


def test_conditional_networks_use_the_label():
    generator, discriminator = make_generator(clusters_per_class=10), Discriminator(8, 10, "none", False, True)
    latents = torch.randn(4, 16)
    one, two = torch.full((4,), 1), torch.full((4,), 2)
    assert not torch.equal(generator(latents, one), generator(latents, two))
    images = generator(latents, one)
    assert not torch.equal(discriminator(images, one), discriminator(images, two))


def test_an_unconditional_generator_needs_no_label_and_ignores_one():
    generator, latents = make_generator(conditional=False), torch.randn(4, 16)
    assert torch.equal(generator(latents), generator(latents, torch.arange(4)))


@pytest.mark.parametrize("conditional", [True, False])
def test_clusters_are_selected_at_the_frequencies_that_were_set(conditional):
    """Latents that differ only in their first value give one image per cluster, so the image shows the cluster."""
    generator = make_generator(conditional, clusters_per_class=3 if conditional else 30)
    classes = 10 if conditional else 1
    counts = torch.tensor([5, 0, 15] * 10)  # a quarter, none and three quarters of each label
    generator.set_cluster_frequencies(counts)
    latents = torch.zeros(4000, 16)
    latents[:, 0] = torch.randn(4000)
    labels = torch.full((4000,), 7 if conditional else 0)
    pictures = generator(latents, labels)
    possible = generator.forward_clusters(torch.zeros(30, 16), torch.arange(30))
    drawn = torch.cdist(pictures.flatten(1), possible.flatten(1)).argmin(dim=1)
    frequencies = torch.bincount(drawn, minlength=30) / 4000
    expected = counts.view(classes, -1) / counts.view(classes, -1).sum(dim=1, keepdim=True)
    if conditional:
        expected[torch.arange(10) != 7] = 0
    # The standard deviation of a frequency in 4,000 draws is below 0.007.
    assert torch.allclose(frequencies, expected.flatten(), atol=0.03)
    assert (frequencies[expected.flatten() == 0] == 0).all()


def test_the_second_value_of_a_latent_selects_the_white_and_nothing_else():
    """Not the first, which selects the cluster: else every cluster would have whites of its own."""
    generator = make_generator(clusters_per_class=1)  # so that the first value selects nothing
    latents, labels = torch.randn(16)[None].repeat(3, 1), torch.zeros(3, dtype=torch.int64)
    latents[1, 0], latents[2, 0] = -5.0, 5.0
    first, *others = generator(latents, labels)
    assert all(torch.allclose(first, other, atol=1e-5) for other in others)
    latents[:, 1] = torch.tensor([-5.0, 0.0, 5.0])
    gray = (generator(latents, labels) + 1) / 2
    assert torch.allclose(gray.amax(dim=(1, 2, 3)), torch.tensor([251.0, 253.0, 255.0]) / 255)
    assert torch.allclose(gray[2] * 251 / 255, gray[0], atol=1e-5)


def activate_std(discriminator: Discriminator) -> None:
    """Give the std a weight, as training does: it is initialized to zero."""
    if discriminator.std_weight is not None:
        discriminator.std_weight.data.fill_(1.0)


def test_minibatch_std_detects_a_group_of_identical_images():
    """Only the std feature gives an image another logit among its own copies than among other images."""
    torch.manual_seed(0)
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    copies = images[:1].repeat(4, 1, 1, 1)
    for minibatch_std, differs in ((True, True), (False, False)):
        discriminator = Discriminator(8, 1, "none", minibatch_std, True)
        activate_std(discriminator)
        alone, among = discriminator(copies, CLUSTER_0[:4])[0], discriminator(images, CLUSTER_0[:4])[0]
        assert (not torch.allclose(alone, among, atol=1e-5)) == differs


def test_minibatch_std_is_the_mean_over_features_of_the_deviation_over_the_images_of_a_group():
    """What the std adds to the logit, against numpy: population deviation over 4 images, of a quarter of the channels
    at 7x7, times 10 and its weight."""
    torch.manual_seed(0)
    discriminator = Discriminator(8, 1, "none", True, True)
    maps = []
    discriminator.down2.register_forward_hook(lambda module, inputs, output: maps.append(output))
    images = torch.rand(8, 1, 28, 28) * 2 - 1
    images[4:] = images[4]  # the second group: equal images
    without = discriminator(images, CLUSTER_0)
    discriminator.std_weight.data.fill_(0.5)
    added = (discriminator(images, CLUSTER_0) - without).detach().numpy().ravel()
    features = leaky_relu(maps[0], 0.2)[:, :8].detach().numpy().reshape(2, 4, -1)
    expected = 10 * 0.5 * features.std(axis=1).mean(axis=1)
    assert expected[0] > 0.1
    assert added == pytest.approx(expected.repeat(4), abs=1e-3)  # 1e-8 under the root: 5e-4 for equal images


def test_minibatch_std_is_independent_between_groups():
    torch.manual_seed(0)
    discriminator = Discriminator(8, 1, "none", True, True)
    activate_std(discriminator)
    images = torch.rand(8, 1, 28, 28)
    changed = torch.cat([images[:4], torch.rand(4, 1, 28, 28)])
    assert torch.allclose(discriminator(images, CLUSTER_0)[:4], discriminator(changed, CLUSTER_0)[:4], atol=1e-5)


def test_batch_norm_is_present_only_when_selected():
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, 1, "batch", False, True).modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in Discriminator(8, 1, "none", False, True).modules())


def test_no_pooling_anywhere():
    for network in (Generator(16, 8, True, 10, True), Discriminator(8, 10, "batch", True, True)):
        assert not any("Pool" in type(module).__name__ for module in network.modules())
