import torch

from dcgan.gan.rng import random_stream


def test_streams_differ_by_seed_purpose_and_position_and_are_repeatable():
    draws = {
        key: float(torch.rand((), generator=random_stream(*key)))
        for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 0, 1)]
    }
    assert len(set(draws.values())) == len(draws)
    assert all(float(torch.rand((), generator=random_stream(*key))) == value for key, value in draws.items())
