import numpy as np
import pytest
import torch
from generators import make_generator

from dcgan.gan.networks import Generator
from dcgan.gan.sampling import (
    TEST_COUNTS,
    TRAINING_COUNTS,
    generate,
    label_sequence,
    latent_walk,
    latents,
    to_uint8,
)


@pytest.fixture
def generator():
    return make_generator()


def test_class_counts_are_those_of_mnist(mnist_dir):
    from dcgan.data.mnist import load_split

    for split, counts in (("train", TRAINING_COUNTS), ("test", TEST_COUNTS)):
        assert tuple(np.bincount(load_split(mnist_dir, split)[1], minlength=10)) == counts


def test_mnist_mix_has_training_set_counts_and_starts_with_test_set_counts():
    labels = label_sequence(60_000, "mnist", seed=3).numpy()
    assert tuple(np.bincount(labels[:10_000])) == TEST_COUNTS
    assert tuple(np.bincount(labels)) == TRAINING_COUNTS


@pytest.mark.parametrize("count", [10, 1234, 10_000, 10_001, 100_000])
@pytest.mark.parametrize("mix", ["mnist", "balanced"])
def test_any_count_is_met_exactly(count, mix):
    labels = label_sequence(count, mix, seed=0).numpy()
    assert len(labels) == count
    if mix == "balanced":
        assert np.ptp(np.bincount(labels, minlength=10)) <= 1


def test_labels_are_shuffled_and_seeded():
    labels = label_sequence(1000, "balanced", seed=0)
    assert torch.equal(labels, label_sequence(1000, "balanced", seed=0))
    assert not torch.equal(labels, label_sequence(1000, "balanced", seed=1))
    # Sorted labels change 9 times in 1,000; shuffled ones about 900 times, with a standard deviation of 10.
    assert 850 < int((labels.diff() != 0).sum()) < 950


def test_latents_depend_on_seed_and_row_only():
    many = latents(2500, 16, seed=4)
    assert torch.equal(latents(1100, 16, seed=4), many[:1100])
    assert not torch.equal(latents(10, 16, seed=5), many[:10])
    # Mean and variance of 40,000 draws from N(0, 1): standard errors 0.005 and 0.007.
    assert abs(float(many.mean())) < 0.025
    assert abs(float(many.var()) - 1) < 0.035


def test_latents_never_repeat():
    assert len(np.unique(latents(60_000, 4, seed=4).numpy(), axis=0)) == 60_000


def test_gray_levels_are_rounded_to_the_nearest():
    values = torch.tensor([-1.0, 1.0, 0.0, 0.5 / 127.5 - 1 + 1e-4, 0.5 / 127.5 - 1 - 1e-4]).view(5, 1, 1, 1)
    assert to_uint8(values).ravel().tolist() == [0, 255, 128, 1, 0]


def test_generate_gives_bytes_and_reports_each_batch(generator):
    batches = []
    images = generate(generator, latents(700, 16, 0), label_sequence(700, "balanced", 0), batches.append)
    assert images.shape == (700, 28, 28)
    assert images.dtype == np.uint8
    assert batches == [500, 200]


def test_batch_size_changes_a_pixel_by_at_most_one_gray_level(generator, monkeypatch):
    z, labels = latents(600, 16, 0), label_sequence(600, "balanced", 0)
    whole = generate(generator, z, labels).astype(int)
    monkeypatch.setattr("dcgan.gan.sampling.BATCH", 7)
    small = generate(generator, z, labels).astype(int)
    assert np.abs(whole - small).max() <= 1
    assert (whole != small).mean() < 1e-4


def test_a_latent_walk_goes_from_one_digit_to_another_in_small_steps(generator):
    walk = latent_walk(generator, seed=0, steps=30).astype(float).reshape(10, 30, -1)
    step = np.abs(np.diff(walk, axis=1)).mean(axis=(1, 2))
    whole = np.abs(walk[:, -1] - walk[:, 0]).mean(axis=1)
    assert (whole > 0).all()
    assert (step < whole / 3).all()  # a jump would be one step of nearly the whole distance


def test_the_latents_of_a_walk_keep_their_cluster_and_are_as_long_as_samples(monkeypatch):
    """Halfway along a straight line between two samples, a point has only 0.7 of their length."""
    monkeypatch.setattr("dcgan.gan.sampling.generate", lambda generator, z, labels: (z, labels))
    z, labels = latent_walk(Generator(64, 8, True, 20, True), seed=3, steps=9)
    assert labels.tolist() == [digit for digit in range(10) for _ in range(9)]
    ends, z = latents(20, 64, seed=3).view(10, 2, 64), z.view(10, 9, 64)
    assert torch.equal(z[:, :, :2], ends[:, :1, :2].expand(-1, 9, -1))  # these select the cluster and the white
    assert torch.allclose(z[:, [0, -1], 2:], ends[:, :, 2:], atol=1e-5)
    lengths = z[:, :, 2:].norm(dim=2)
    assert (lengths > 0.95 * lengths[:, [0, -1]].amin(dim=1, keepdim=True)).all()
    assert (lengths < 1.05 * lengths[:, [0, -1]].amax(dim=1, keepdim=True)).all()
