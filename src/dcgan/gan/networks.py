"""The two networks of the DCGAN (Radford et al. 2016), built from their arguments only.

Images are (N, 1, 28, 28) in [-1, 1], labels (N,) are digits 0 to 9, clusters (N,) are the indices that
`dcgan.gan.clusters` finds, latents are (N, latent_size) from N(0, 1).
`width` w sets the channels: 8w at 4x4, 4w at 7x7, only w at 14x14, where most of the arithmetic would otherwise go, and
half as many in what is at 28x28.
Feature maps are kept in channels-last memory: on CPUs the convolutions run 1.4 times as fast in it. Activations are
modules, so that forward hooks see every operation (`dcgan.gan.network_summary` reads the architecture from them).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from dcgan.constants import CLASSES, STD_GROUP
from dcgan.gan.rendering import Rendering, bounding_boxes, ink

# Makes this one weight learn 10x faster: Adam normalizes gradients, so a larger gradient alone would not.
STD_GAIN = 10


class Generator(nn.Module):
    """A dense layer, then transposed convolutions, each after BatchNorm and ReLU, that draw a digit.

    With a `canvas` four of them draw at 56x56, and `dcgan.gan.rendering` makes the digit from that. Without, three draw
    the image itself, with tanh at the end, as in the paper.

    Each class (a digit; all digits form one class when not `conditional`) has `clusters_per_class` clusters. The first
    value of a latent selects the cluster within the class, at the frequencies that `set_cluster_frequencies` stored;
    with a canvas the second selects the level of white. `labels` are required when `conditional`, ignored otherwise.
    """

    def __init__(self, latent_size: int, width: int, conditional: bool, clusters_per_class: int, canvas: bool) -> None:
        super().__init__()
        self.arguments = {
            "latent_size": latent_size,
            "width": width,
            "conditional": conditional,
            "clusters_per_class": clusters_per_class,
            "canvas": canvas,
        }
        self.width = width
        self.conditional = conditional
        self.clusters_per_class = clusters_per_class
        self.canvas = canvas
        classes = CLASSES if conditional else 1
        self.clusters = classes * clusters_per_class
        self.register_buffer("bounds", torch.zeros(classes, clusters_per_class - 1))
        self.selectors = 2 if canvas else 1  # values of a latent that the dense layer does not see
        self.dense = nn.Linear(latent_size - self.selectors + self.clusters, 4 * 4 * 8 * width, bias=False)
        self.norm1 = nn.BatchNorm2d(8 * width)
        self.up1 = nn.ConvTranspose2d(8 * width, 4 * width, kernel_size=3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, width, kernel_size=4, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        if canvas:
            fine = max(1, width // 2)
            self.up3 = nn.ConvTranspose2d(width, fine, kernel_size=4, stride=2, padding=1, bias=False)
            self.norm4 = nn.BatchNorm2d(fine)
            self.up4 = nn.ConvTranspose2d(fine, 1, kernel_size=4, stride=2, padding=1)
            self.rendering = Rendering()
        else:
            self.up3 = nn.ConvTranspose2d(width, 1, kernel_size=4, stride=2, padding=1)
            self.tanh = nn.Tanh()
        self.relu = nn.ReLU()

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        labels = labels if self.conditional else torch.zeros_like(latents[:, 0], dtype=torch.int64)
        within_class = (latents[:, :1] > self.bounds[labels]).sum(dim=1)
        return self.forward_clusters(latents, labels * self.clusters_per_class + within_class)

    def forward_clusters(self, latents: Tensor, clusters: Tensor) -> Tensor:
        """Images of the given clusters, (N,); the first value of each latent is ignored."""
        return self.draw(latents, clusters)[0]

    def draw(self, latents: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same images, and the bounding boxes of the drawings on the canvas, (N, 4); None without a canvas."""
        x = torch.cat([latents[:, self.selectors :], one_hot(clusters, self.clusters).to(latents.dtype)], dim=1)
        # The dense layer writes height, width, channels: its view is channels-last without a copy.
        x = self.dense(x).view(-1, 4, 4, 8 * self.width).permute(0, 3, 1, 2)  # (N, 8w, 4, 4)
        x = self.up1(self.relu(self.norm1(x)))  # (N, 4w, 7, 7)
        x = self.up2(self.relu(self.norm2(x)))  # (N, w, 14, 14)
        x = self.up3(self.relu(self.norm3(x)))  # (N, w / 2 or 1, 28, 28)
        if not self.canvas:
            return self.tanh(x), None
        logits = self.up4(self.relu(self.norm4(x)))  # (N, 1, 56, 56)
        with torch.autocast(logits.device.type, enabled=False):  # gray levels need more than bf16's 8 bits
            drawings = ink(logits if logits.dtype == torch.float64 else logits.float())
            boxes = bounding_boxes(drawings)
            return self.rendering(drawings, boxes, latents[:, 1]), boxes

    def set_cluster_frequencies(self, counts: Tensor) -> None:
        """Select each cluster within its class as often as `counts` (clusters,) says.

        `bounds` are the quantiles of N(0, 1) that separate neighboring clusters.
        """
        counts = counts.view(len(self.bounds), -1).double()
        below = (counts.cumsum(1) / counts.sum(1, keepdim=True))[:, :-1]
        self.bounds.copy_(torch.special.ndtri(below))


class Discriminator(nn.Module):
    """Three strided convolutions and a dense layer, each with LeakyReLU, and a dense layer of logits.

    The last layer has one logit for each of `clusters` clusters; the output is the logit of the image's own cluster
    (Mescheder et al. 2018 do so with labels).
    `norm` "batch" puts a BatchNorm after the second and the third convolution. `minibatch_std` adds a
    term to the logit for how much features vary in each group of 4 images (after Karras et al. 2018): it exposes a
    batch of look-alikes. `full_resolution` puts a convolution before the strided ones, which sees single pixels, as
    specks are.
    """

    def __init__(self, width: int, clusters: int, norm: str, minibatch_std: bool, full_resolution: bool) -> None:
        super().__init__()
        self.arguments = {
            "width": width,
            "clusters": clusters,
            "norm": norm,
            "minibatch_std": minibatch_std,
            "full_resolution": full_resolution,
        }
        self.width = width
        fine = max(1, width // 2)
        self.fine = nn.Conv2d(1, fine, kernel_size=3, padding=1) if full_resolution else None
        self.down1 = nn.Conv2d(fine if full_resolution else 1, width, kernel_size=4, stride=2, padding=1)
        self.down2 = nn.Conv2d(width, 4 * width, kernel_size=4, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(4 * width) if norm == "batch" else nn.Identity()
        self.down3 = nn.Conv2d(4 * width, 8 * width, kernel_size=3, stride=2, padding=1)
        self.norm3 = nn.BatchNorm2d(8 * width) if norm == "batch" else nn.Identity()
        self.dense = nn.Linear(4 * 4 * 8 * width, 4 * width)
        self.logits = nn.Linear(4 * width, clusters)
        self.std_weight = nn.Parameter(torch.zeros(1)) if minibatch_std else None
        self.leaky_relu = nn.LeakyReLU(0.2)

    def forward(self, images: Tensor, clusters: Tensor) -> Tensor:
        x = self.leaky_relu(self.fine(images)) if self.fine else images  # (N, w / 2 or 1, 28, 28)
        x = self.leaky_relu(self.down1(x))  # (N, w, 14, 14)
        x = self.leaky_relu(self.norm2(self.down2(x)))  # (N, 4w, 7, 7)
        # Memory is channels-last, so this permutation copies nothing. A quarter of the channels works as well as all.
        varying = x.permute(0, 2, 3, 1)[..., : self.width]
        x = self.leaky_relu(self.norm3(self.down3(x)))  # (N, 8w, 4, 4)
        x = self.leaky_relu(self.dense(x.permute(0, 2, 3, 1).flatten(1)))  # (N, 4w)
        logits = self.logits(x).gather(1, clusters[:, None])  # (N, 1)
        if self.std_weight is not None:
            logits = logits + STD_GAIN * self.std_weight * _group_std(varying.flatten(1)).to(logits.dtype)
        return logits


def _group_std(features: Tensor) -> Tensor:
    """Mean standard deviation of the features over each group of 4 images: (N, F) -> (N, 1), equal within a group."""
    groups = features.float().view(-1, STD_GROUP, features.shape[1])
    deviation = groups - groups.mean(dim=1, keepdim=True)  # Tensor.var takes 20 times as long here on a CPU
    std = (deviation.square().mean(dim=1) + 1e-8).sqrt().mean(dim=1, keepdim=True)  # (N / 4, 1)
    return std.repeat_interleave(STD_GROUP, dim=0)
