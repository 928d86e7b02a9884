"""The DCGAN loop of the usual tutorials, reimplemented as the reference for speed.

As in the widely copied examples: a DataLoader that decodes and transforms one PIL image after another, separate passes
for real and generated images, sigmoid and BCELoss, fp32, Adam with learning rate 0.0002 and beta1 0.5, and losses read
with `.item()` in every step. The networks are this project's, conditioned on labels only.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from dcgan.constants import CLASSES
from dcgan.gan.networks import Discriminator, Generator
from dcgan.params import ModelParams


class TutorialLoop:
    """`steps()` trains endlessly and yields the number of images seen after each step."""

    def __init__(self, model: ModelParams, batch_size: int, data: Path) -> None:
        torch.manual_seed(1)
        self.latent_size = model.latent_size
        self.generator = Generator(
            model.latent_size, model.generator_width, conditional=True, clusters_per_class=1, canvas=model.canvas
        )
        self.discriminator = Discriminator(
            model.discriminator_width, CLASSES, model.discriminator_norm, model.minibatch_std, model.canvas
        )
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
        self.loader = DataLoader(MNIST(data, transform=transform), batch_size, shuffle=True, drop_last=True)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))

    def steps(self) -> Iterator[int]:
        criterion = nn.BCELoss()
        seen = 0
        while True:
            for real, labels in self.loader:
                ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

                self.adam_d.zero_grad()
                real_loss = criterion(torch.sigmoid(self.discriminator(real, labels)), ones)
                real_loss.backward()
                fake = self.generator(torch.randn(len(real), self.latent_size), labels)
                fake_loss = criterion(torch.sigmoid(self.discriminator(fake.detach(), labels)), zeros)
                fake_loss.backward()
                self.adam_d.step()

                self.adam_g.zero_grad()
                loss_g = criterion(torch.sigmoid(self.discriminator(fake, labels)), ones)
                loss_g.backward()
                self.adam_g.step()

                self.losses = (real_loss.item() + fake_loss.item(), loss_g.item())
                seen += len(real)
                yield seen
