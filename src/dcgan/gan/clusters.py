"""Clusters of similar digits, on which both networks are conditioned.

Latents have a single mode, handwriting has many: a seven may be narrow and slanted, or upright with a bar. Conditioning
on clusters at their empirical frequency closes that gap (clusters as labels: Sage et al. 2018, Liu et al. 2020).
"""

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

ITERATIONS = 30


def find_clusters(images: Tensor, classes: Tensor, clusters_per_class: int) -> Tensor:
    """The cluster of each image: k-means on 7x7 mean gray levels, separately for each class. Deterministic.

    Args:
        images: uint8 (N, 1, 28, 28).
        classes: (N,) integers from 0: the labels; all 0 when the model is not conditional.
        clusters_per_class: at most the number of images of any class.
    Returns:
        (N,) int64: class * clusters_per_class + index within the class. Takes one second for 60,000 images and
        10 x 32 clusters.
    """
    thumbnails = images.cpu().view(-1, 7, 4, 7, 4).sum(dim=(2, 4), dtype=torch.float32).flatten(1) / (
        16 * 255
    )  # (N, 49)
    classes = classes.cpu()
    clusters = torch.empty(len(images), dtype=torch.int64)
    for number in range(int(classes.max()) + 1):
        chosen = classes == number
        _, nearest = kmeans2(
            thumbnails[chosen].numpy(), clusters_per_class, iter=ITERATIONS, minit="points", seed=number
        )
        clusters[chosen] = number * clusters_per_class + torch.from_numpy(nearest).long()
    return clusters
