import threading

import numpy as np
import pytest
import torch

from dcgan.evaluation.classifier import DigitNetwork, Recipe, fit, predict, shifted
from dcgan.evaluation.threads import run_in_threads

QUICK = Recipe(epochs=1, batch_size=50)


def bars(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Upright (0) and level (1) bars in noise: learned within a few steps."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (count, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    images[labels == 0, :, 10:16] = 200
    images[labels == 1, 10:16, :] = 200
    return images, labels


def same(a: DigitNetwork, b: DigitNetwork) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_shift_moves_whole_pixels_within_reach_and_reaches_every_place():
    images = torch.zeros(500, 28, 28, dtype=torch.uint8)
    images[:, 14, 14] = 255
    moved = shifted(images, 2, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    assert torch.equal(moved.sum((1, 2), dtype=torch.int64), torch.full((500,), 255))
    places = {tuple(place) for place in moved.nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in range(12, 17) for column in range(12, 17)}


def test_what_moves_out_is_gone_and_black_comes_in():
    images = torch.full((200, 28, 28), 9, dtype=torch.uint8)
    moved = shifted(images, 1, torch.Generator().manual_seed(1))
    sums = moved.sum((1, 2), dtype=torch.int64) // 9
    assert set(sums.tolist()) == {28 * 28, 28 * 27, 27 * 27}


def test_no_shift_is_the_same_images():
    images, _ = bars(10)
    assert shifted(images, 0, torch.Generator()) is images


def test_floats_are_refused_instead_of_read_in_the_wrong_range():
    with pytest.raises(TypeError, match="uint8"):
        DigitNetwork()(torch.zeros(2, 28, 28))


def test_fit_learns_and_leaves_the_network_in_evaluation_mode():
    images, labels = bars(1000)
    network = fit(images, labels, Recipe(epochs=2, batch_size=50), seed=3, classes=2, title="bars")
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())
    assert (predict(network, images) == labels).float().mean() > 0.99


def test_fit_is_the_same_bits_for_a_seed_and_leaves_the_global_generator_alone():
    images, labels = bars(200)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = fit(images, labels, QUICK, seed=3, classes=2, title="bars")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert same(first, fit(images, labels, QUICK, seed=3, classes=2, title="bars"))
    assert not same(first, fit(images, labels, QUICK, seed=4, classes=2, title="bars"))


def test_fits_side_by_side_are_the_same_as_alone():
    images, labels = bars(300)

    def work(seed: int) -> DigitNetwork:
        return fit(images, labels, QUICK, seed=seed, classes=2, title="bars")

    together = run_in_threads([lambda seed=seed: work(seed) for seed in range(4)])
    assert all(same(network, work(seed)) for seed, network in enumerate(together))


def test_lanes_return_results_in_order_and_pass_errors_on():
    slow = threading.Event()

    def first() -> int:
        slow.wait(5)
        return 1

    def second() -> int:
        slow.set()
        return 2

    assert run_in_threads([first, second]) == [1, 2]

    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_in_threads([broken, second])


def test_features_of_an_image_do_not_depend_on_its_company():
    """In training mode BatchNorm would mix them: 1e-4 is far below that and above float32's rounding."""
    images, _ = bars(64)
    network = DigitNetwork().eval()
    together, alone = network.features(images), network.features(images[:1])
    assert np.allclose(together[:1].detach(), alone.detach(), rtol=1e-4, atol=1e-5)
