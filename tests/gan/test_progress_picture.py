"""The picture that grows: when it is drawn, what it shows, and that training does not notice."""

import copy

import numpy as np
import pytest
import torch
from gan.test_trainer import make_trainer
from PIL import Image

from dcgan.gan import progress_picture
from dcgan.gan.progress_picture import ProgressPicture
from dcgan.gan.training_loop import fixed_inputs


@pytest.fixture
def trainer():
    return make_trainer()


def picture_of(trainer, path) -> ProgressPicture:
    return ProgressPicture(path, *fixed_inputs(trainer))


def columns(path) -> int:
    """Of digits of 28 pixels with one between them, magnified twofold; there are ten in each."""
    width, height = Image.open(path).size
    assert height == 2 * (10 * 29 - 1)
    return (width // 2 + 1) // 29


def test_the_first_column_is_there_at_once_and_the_path_is_said_once(trainer, tmp_path, capsys):
    picture = picture_of(trainer, tmp_path / "progress.png")
    picture.draw_if_due(trainer.generator_ema)
    assert columns(picture.path) == 1
    picture.draw_if_due(trainer.generator_ema)
    assert columns(picture.path) == 1, "not due yet"
    picture.due = 0
    picture.draw_if_due(trainer.generator_ema)
    assert columns(picture.path) == 2
    assert capsys.readouterr().err.count(str(tmp_path / "progress.png")) == 1


def test_a_row_is_a_digit_that_the_networks_state_changes(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_picture, "COLUMN_EVERY_S", 0)
    picture = picture_of(trainer, tmp_path / "progress.png")
    picture.draw_if_due(trainer.generator_ema)
    picture.draw_if_due(trainer.generator_ema)
    with torch.no_grad():
        for parameter in trainer.generator_ema.parameters():
            parameter.add_(torch.randn_like(parameter))
    picture.draw_if_due(trainer.generator_ema)
    first, again, later = picture.columns
    assert np.array_equal(first, again)
    assert len({digit.tobytes() for digit in first}) == 10
    assert not any(np.array_equal(*pair) for pair in zip(first, later, strict=True))


def test_a_long_training_keeps_a_picture_of_at_most_40_columns(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_picture, "MAX_COLUMNS", 4)
    picture = picture_of(trainer, tmp_path / "progress.png")
    for _ in range(5):
        picture.due = 0
        picture.draw_if_due(trainer.generator_ema)
    assert columns(picture.path) == 3
    assert picture.every == 2 * progress_picture.COLUMN_EVERY_S


def test_drawing_changes_neither_the_networks_nor_a_random_stream(trainer, tmp_path):
    for _ in range(2):
        trainer.step()
    before = {name: copy.deepcopy(tensor) for name, tensor in trainer.state().items()}
    state = torch.get_rng_state()
    picture_of(trainer, tmp_path / "progress.png").draw_if_due(trainer.generator_ema)
    assert all(torch.equal(tensor, trainer.state()[name]) for name, tensor in before.items())
    assert torch.equal(torch.get_rng_state(), state)
