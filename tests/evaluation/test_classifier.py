"""The digit network and its training: learning, determinism, input range, shifts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcgan.evaluation.classifier import DigitNetwork, Recipe, fit, predict, shifted
from dcgan.evaluation.threads import run_in_threads

QUICK = Recipe(epochs=1, batch_size=50)


def bars(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertical (0) and horizontal (1) bars in noise: learned within a few steps."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (count, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    images[labels == 0, :, 10:16] = 200
    images[labels == 1, 10:16, :] = 200
    return images, labels


def same(a: DigitNetwork, b: DigitNetwork) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_shift_moves_whole_pixels_within_reach_and_every_offset_occurs():
    images = torch.zeros(500, 28, 28, dtype=torch.uint8)
    images[:, 14, 14] = 255
    moved = shifted(images, 2, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    assert torch.equal(moved.sum((1, 2), dtype=torch.int64), torch.full((500,), 255))
    places = {tuple(place) for place in moved.nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in range(12, 17) for column in range(12, 17)}


def test_pixels_shifted_out_are_lost_and_black_is_shifted_in():
    images = torch.full((200, 28, 28), 9, dtype=torch.uint8)
    moved = shifted(images, 1, torch.Generator().manual_seed(1))
    sums = moved.sum((1, 2), dtype=torch.int64) // 9
    assert set(sums.tolist()) == {28 * 28, 28 * 27, 27 * 27}


def test_a_shift_of_zero_returns_the_images():
    images, _ = bars(10)
    assert shifted(images, 0, torch.Generator()) is images


def test_float_images_are_refused_since_their_range_is_unknown():
    with pytest.raises(TypeError, match="uint8"):
        DigitNetwork()(torch.zeros(2, 28, 28))


def test_fit_learns_and_leaves_the_network_in_evaluation_mode():
    images, labels = bars(1000)
    network = fit(images, labels, Recipe(epochs=2, batch_size=50), seed=3, title="bars")
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())
    assert (predict(network, images) == labels).float().mean() > 0.99


def test_fit_is_bitwise_reproducible_and_leaves_the_global_generator_unchanged():
    images, labels = bars(200)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = fit(images, labels, QUICK, seed=3, title="bars")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert same(first, fit(images, labels, QUICK, seed=3, title="bars"))
    assert not same(first, fit(images, labels, QUICK, seed=4, title="bars"))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"batch_size": 25},
        {"learning_rate": 1e-3},
        {"weight_decay": 0.1},
        {"shift": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_a_recipe_changes_the_network(change):
    images, labels = bars(100)
    plain, other = (fit(images, labels, recipe, seed=3, title="bars") for recipe in (QUICK, replace(QUICK, **change)))
    assert not same(plain, other)


def test_fits_in_parallel_give_the_same_networks_as_one_by_one():
    images, labels = bars(300)

    def train(seed: int) -> DigitNetwork:
        return fit(images, labels, QUICK, seed=seed, title="bars")

    parallel = run_in_threads([lambda seed=seed: train(seed) for seed in range(4)])
    assert all(same(network, train(seed)) for seed, network in enumerate(parallel))


def test_features_of_an_image_do_not_depend_on_the_rest_of_the_batch():
    """In training mode BatchNorm would mix them: 1e-4 is far below that and above float32's rounding."""
    images, _ = bars(64)
    network = DigitNetwork().eval()
    together, alone = network.features(images), network.features(images[:1])
    assert np.allclose(together[:1].detach(), alone.detach(), rtol=1e-4, atol=1e-5)
