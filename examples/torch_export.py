"""Draws with models/generator.pt2, which `make repro` writes. Needs PyTorch, not this package."""

import torch

generator = torch.export.load("models/generator.pt2").module()
labels = torch.tensor([2, 0, 2, 6])
latents = torch.randn(4, 64, generator=torch.Generator().manual_seed(7))  # 64: model.latent_size
images = generator(latents, labels)  # (4, 1, 28, 28) in [-1, 1]

for row in images[:, 0].permute(1, 0, 2).flatten(1)[::2]:  # the four side by side, every other row
    print("".join(" .:*#"[int(4.99 * (value + 1) / 2)] for value in row))
