import numpy as np
import pytest
import torch

from dcgan.data.mnist import load_split
from dcgan.gan.clusters import find_clusters


@pytest.fixture(scope="module")
def digits(mnist_dir):
    images, labels = load_split(mnist_dir, "test")
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels).long()


def test_kinds_divide_each_label_and_none_is_empty(digits):
    images, labels = digits
    clusters = find_clusters(images, labels, per_label=8)
    assert torch.equal(clusters // 8, labels)
    assert (torch.bincount(clusters, minlength=80) > 0).all()
    assert torch.equal(clusters, find_clusters(images, labels, per_label=8))


def test_a_kind_looks_more_alike_than_its_label(digits):
    """Within 8 clusters a label's pixels vary by 72 % of what they vary in the label as a whole; random parts: 100 %."""
    images, labels = digits
    pixels = images.flatten(1).float()

    def spread(groups: torch.Tensor) -> float:
        return sum(float((pixels[groups == g] - pixels[groups == g].mean(0)).square().sum()) for g in groups.unique())

    assert spread(find_clusters(images, labels, per_label=8)) < 0.85 * spread(labels)


def test_without_labels_a_kind_is_mostly_of_one_digit(digits):
    """100 clusters: some 84 % of the digits are their kind's most frequent one; of random groups that large: 15 %."""
    images, labels = digits
    clusters = find_clusters(images, torch.zeros_like(labels), per_label=100)
    table = np.zeros((100, 10), dtype=int)
    np.add.at(table, (clusters.numpy(), labels.numpy()), 1)
    assert table.max(axis=1).sum() / len(labels) > 0.7


def test_one_kind_a_label_is_the_label(digits):
    images, labels = digits
    assert torch.equal(find_clusters(images, labels, per_label=1), labels)
