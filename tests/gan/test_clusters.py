import numpy as np
import pytest
import torch

from dcgan.data.mnist import load_split
from dcgan.gan.clusters import find_clusters


@pytest.fixture(scope="module")
def digits(mnist_dir):
    images, labels = load_split(mnist_dir, "test")
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels).long()


def test_clusters_divide_each_label_and_none_is_empty(digits):
    images, labels = digits
    clusters = find_clusters(images, labels, clusters_per_class=8)
    assert torch.equal(clusters // 8, labels)
    assert (torch.bincount(clusters, minlength=80) > 0).all()
    assert torch.equal(clusters, find_clusters(images, labels, clusters_per_class=8))


def test_images_of_a_cluster_vary_less_than_those_of_its_label(digits):
    """With 8 clusters, the variance within a cluster is 72 % of that within its label; with random groups, 100 %."""
    images, labels = digits
    pixels = images.flatten(1).float()

    def spread(groups: torch.Tensor) -> float:
        return sum(float((pixels[groups == g] - pixels[groups == g].mean(0)).square().sum()) for g in groups.unique())

    assert spread(find_clusters(images, labels, clusters_per_class=8)) < 0.85 * spread(labels)


def test_without_labels_a_cluster_is_mostly_one_digit(digits):
    """With 100 clusters, 84 % of the images show their cluster's most frequent digit; with random groups, 15 %."""
    images, labels = digits
    clusters = find_clusters(images, torch.zeros_like(labels), clusters_per_class=100)
    table = np.zeros((100, 10), dtype=int)
    np.add.at(table, (clusters.numpy(), labels.numpy()), 1)
    assert table.max(axis=1).sum() / len(labels) > 0.7


def test_one_cluster_per_class_is_the_label_itself(digits):
    images, labels = digits
    assert torch.equal(find_clusters(images, labels, clusters_per_class=1), labels)
