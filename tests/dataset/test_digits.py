"""Labels and digits of a data set, block by block."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from generators import make_generator

from dcgan.dataset.digits import BLOCK, DigitSource, block_labels, inference_copy
from dcgan.gan.sampling import TRAINING_COUNTS, latents, to_uint8

DIGITS = tuple(range(10))


@pytest.mark.parametrize("mix", ["balanced", "mnist"])
@pytest.mark.parametrize("classes", [DIGITS, (3, 8), (0, 1, 2), (7,), (1, 2, 3, 4, 5, 6, 7)])
def test_any_number_of_rows_has_each_class_in_proportion(mix, classes):
    labels = np.concatenate([block_labels(5, "train", block, classes, mix) for block in range(4)])
    weights = np.array([1 if mix == "balanced" else TRAINING_COUNTS[digit] for digit in classes])
    found = np.cumsum(labels[:, None] == np.array(classes), axis=0)
    expected = np.arange(1, len(labels) + 1)[:, None] * weights / weights.sum()
    assert np.abs(found - expected).max() <= 2
    assert found[-1].sum() == len(labels)  # no other class


def test_ten_balanced_classes_are_exact_after_every_ten_rows():
    labels = block_labels(0, "train", 3, DIGITS, "balanced").reshape(-1, 10)
    assert (np.sort(labels, axis=1) == DIGITS).all()


def test_the_order_is_random_and_another_in_each_block_split_and_seed():
    first = block_labels(0, "train", 0, DIGITS, "mnist")
    assert (first == block_labels(0, "train", 0, DIGITS, "mnist")).all()
    for other in ((1, "train", 0), (0, "test", 0), (0, "train", 1)):
        same = (first == block_labels(*other, DIGITS, "mnist")).mean()
        assert 0.05 < same < 0.15  # a tenth by chance, with a standard deviation of 0.01
    # Each digit follows each other one: 90 pairs, of about 11 occurrences each.
    assert len({pair for pair in pairwise(first) if pair[0] != pair[1]}) >= 88


def test_a_block_depends_on_seed_split_and_number_only():
    generator = make_generator()
    one, another = (DigitSource(generator, 3, DIGITS, "balanced") for _ in range(2))
    another.block("train", 0)
    another.block("test", 7)
    images, labels = one.block("train", 7)
    again = another.block("train", 7)
    assert images.shape == (BLOCK, 28, 28) and images.dtype == labels.dtype == np.uint8
    assert np.array_equal(images, again[0]) and np.array_equal(labels, again[1])
    assert not np.array_equal(images, another.block("test", 7)[0])
    assert len(np.unique(images.reshape(BLOCK, -1), axis=0)) > 0.99 * BLOCK


@pytest.mark.parametrize(("seed", "split", "block"), [(3, "test", 7), (3, "train", 8), (4, "train", 7)])
def test_the_handwriting_is_another_in_each_split_block_and_seed(seed, split, block):
    """A single class, so that not only the order differs: a test split must not repeat the training split."""
    generator = make_generator()
    images, _ = DigitSource(generator, 3, (4,), "balanced").block("train", 7)
    others, _ = DigitSource(generator, seed, (4,), "balanced").block(split, block)
    assert (images == others).all(axis=(1, 2)).mean() < 0.01


@pytest.mark.parametrize("canvas", [True, False])
def test_the_faster_generator_draws_the_same_digits(canvas):
    generator = make_generator(canvas=canvas)
    for norm in (generator.norm2, generator.norm3, *((generator.norm4,) if canvas else ())):
        for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.5, 2), (norm.bias, -0.5, 0.5)):
            values.data.uniform_(low, high)
    z, labels = latents(500, 16, 0), torch.arange(500) % 10
    with torch.inference_mode():
        plain, fast = (to_uint8(network(z, labels)).astype(int) for network in (generator, inference_copy(generator)))
    assert plain.std() > 10  # there is something to compare
    assert np.abs(plain - fast).max() <= 1
    assert (plain != fast).mean() < 1e-4
