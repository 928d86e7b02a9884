import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan.gan.model_files import save_network
from dcgan.gan.networks import Generator


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    save_network(tmp_path / "models/generator.safetensors", Generator(16, 8, True, 20).eval())
    return tmp_path


def draw(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dcgan.cli", "draw", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_number_is_drawn_with_its_digits_side_by_side(folder):
    done = draw(folder, "2026", "--seed", "7", "-o", "year.png")
    assert done.returncode == 0
    assert done.stdout == "year.png\n"
    assert Image.open(folder / "year.png").size == (2 * 4 * 22, 2 * 28)


def test_the_seed_selects_the_handwriting(folder):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert draw(folder, "11", "--seed", seed, "-o", name).returncode == 0
    a, b, c = (np.asarray(Image.open(folder / name)) for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[:, :44], a[:, 44:])  # the two ones differ


def test_count_and_grid_draw_several_lines_with_gaps(folder):
    assert draw(folder, "0123456789", "--count", "3", "--grid", "-o", "g.png").returncode == 0
    assert Image.open(folder / "g.png").size == (2 * (10 * 29 - 1), 2 * (3 * 29 - 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["12a"], "'12a' is not a number"),
        (["٣"], "is not a number"),
        ([""], "'' is not a number"),
        (["1", "--count", "0"], "--count is 0"),
        (["1", "--seed", "-1"], "--seed is -1"),
        (["1", "--generator", "nowhere"], "there is no generator at nowhere"),
        (["1", "-o", "models/generator.safetensors/x.png"], "cannot write"),
    ],
)
def test_mistakes_are_one_line_and_code_2(folder, arguments, message):
    done = draw(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unconditional_generator_is_refused(tmp_path):
    save_network(tmp_path / "models/generator.safetensors", Generator(16, 8, False, 20).eval())
    done = draw(tmp_path, "1")
    assert done.returncode == 2
    assert "conditional: false" in done.stderr


def test_without_a_trained_generator_the_ready_made_one_draws(tmp_path):
    assert draw(tmp_path, "2026", "-o", "year.png").returncode == 0
    assert Image.open(tmp_path / "year.png").size == (2 * 4 * 22, 2 * 28)
