import torch

from dcgan.gan.network_summary import diagram_blocks, summarize, table
from dcgan.gan.networks import Discriminator, Generator

CLUSTERS = torch.zeros(4, dtype=torch.int64)
IMAGES = torch.zeros(4, 1, 28, 28)


def test_the_layers_of_the_generator_are_those_of_its_forward_pass():
    summary = summarize(Generator(16, 8, True, 2, True), torch.zeros(4, 16), CLUSTERS)
    assert summary.inputs == ("latents", "labels")
    assert summary.input_shape == (14 + 20,)
    assert diagram_blocks(summary) == [
        (["Linear", "BatchNorm2d", "ReLU"], (64, 4, 4)),
        (["ConvTranspose2d 3x3, stride 2", "BatchNorm2d", "ReLU"], (32, 7, 7)),
        (["ConvTranspose2d 4x4, stride 2", "BatchNorm2d", "ReLU"], (8, 14, 14)),
        (["ConvTranspose2d 4x4, stride 2", "BatchNorm2d", "ReLU"], (4, 28, 28)),
        (["ConvTranspose2d 4x4, stride 2", "Rendering"], (1, 28, 28)),
    ]


def test_the_layers_of_the_discriminator_include_its_norm_if_it_has_one():
    for norm, between in (("none", []), ("batch", ["BatchNorm2d"])):
        summary = summarize(Discriminator(8, 20, norm, True, True), IMAGES, CLUSTERS)
        assert summary.inputs == ("images", "clusters")
        assert diagram_blocks(summary) == [
            (["Conv2d 3x3, stride 1", "LeakyReLU"], (4, 28, 28)),
            (["Conv2d 4x4, stride 2", "LeakyReLU"], (8, 14, 14)),
            (["Conv2d 4x4, stride 2", *between, "LeakyReLU"], (32, 7, 7)),
            (["Conv2d 3x3, stride 2", *between, "LeakyReLU"], (64, 4, 4)),
            (["Linear", "LeakyReLU"], (32,)),
            (["Linear"], (20,)),
        ]


def test_summarizing_leaves_the_network_unchanged():
    generator = Generator(16, 8, False, 3, True).train()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    assert summarize(generator, torch.zeros(4, 16)).inputs == ("latents",)
    assert generator.training
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
    assert not any(module._forward_hooks for module in generator.modules())


def test_the_table_counts_every_parameter_once():
    networks = {
        "generator": Generator(16, 8, True, 10, True),
        "discriminator": Discriminator(8, 100, "batch", True, True),
    }
    inputs = {"generator": torch.zeros(4, 16), "discriminator": IMAGES}
    text = table({name: summarize(network, inputs[name], CLUSTERS) for name, network in networks.items()})
    column = text.splitlines()[0].index("parameters") - 2
    for name, network in networks.items():
        lines = [line for line in text.splitlines() if line.startswith((f"{name}.", f"{name} "))]
        counts = [int(line[column:].replace(",", "")) for line in lines if line[column:].strip()]
        assert sum(counts[:-1]) == counts[-1] == sum(tensor.numel() for tensor in network.parameters())
    assert "discriminator.std_weight" in text  # belongs to no layer
