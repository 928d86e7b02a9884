"""`dcgan draw`: the picture shows what was asked for, and goes where the user wanted it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clones import ROOT
from generators import make_generator
from PIL import Image

from dcgan.cli import main
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.gan.model_files import save_network
from dcgan.paths import FEATURE_METADATA, FEATURE_WEIGHTS, READY_MADE_GENERATOR


@pytest.fixture
def folder(tmp_path) -> Path:
    save_network(tmp_path / "models/generator.safetensors", make_generator())
    return tmp_path


@pytest.fixture
def draw(monkeypatch, capsys):
    """Call `dcgan draw` in a folder, in this process: a new one would import torch each time."""

    def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(["draw", *arguments])
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    return call


def test_a_number_is_drawn_with_its_digits_side_by_side(folder):
    """As a user runs it."""
    command = [sys.executable, "-m", "dcgan.cli", "draw", "2026", "--seed", "7", "-o", "year.png"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "year.png\n")
    assert done.stderr.startswith(
        "drawn by the generator trained here, models/generator.safetensors; the ready-made one: "
    )
    assert done.stderr.count("\n") == 1
    assert Image.open(folder / "year.png").size == (2 * 4 * 22, 2 * 28)


def test_the_seed_selects_the_handwriting(draw, folder):
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.PNG", "2")):
        assert draw(folder, "11", "--seed", seed, "-o", name).returncode == 0
    a, b, c = (np.asarray(Image.open(folder / name)) for name in ("a.png", "b.png", "c.PNG"))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[:, :44], a[:, 44:])  # the two ones differ


def test_a_seed_for_each_digit_draws_single_digits_again(draw, folder):
    pictures = {}
    for seeds in ("7", "12", "7,7,12,7"):
        assert draw(folder, "2026", "--seed", seeds, "--count", "2", "-o", "year.png").returncode == 0
        pictures[seeds] = np.asarray(Image.open(folder / "year.png"))
    third = np.s_[:, 88:132]
    expected = pictures["7"].copy()
    expected[third] = pictures["12"][third]
    assert np.array_equal(pictures["7,7,12,7"], expected)
    assert not np.array_equal(expected, pictures["7"])


def test_count_and_grid_draw_several_lines_with_gaps(draw, folder):
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
        (["1", "--seed", str(2**31)], f"--seed is {2**31}; allowed are 0 to {2**31 - 1}"),
        (["1", "--seed", "9" * 5000], "allowed are 0 to"),
        (["12", "--seed", "7,"], "--seed is 7,; allowed are"),
        (["12", "--seed", "7,7,7"], "--seed has 3 seeds for 2 digits; give one, or one for each digit"),
        (["1", "--generator", "nowhere"], "there is no generator at nowhere"),
        (["1", "-o", "models/generator.safetensors/x.png"], "there is no folder models/generator.safetensors"),
        (["1", "-o", "nowhere/x.png"], "--output is nowhere/x.png, but there is no folder nowhere; create it"),
        (["1", "-o", "x.jpg"], "--output is x.jpg, but only PNG is written; choose a name that ends in .png"),
        (["1", "-o", "x"], "only PNG is written"),
    ],
)
def test_mistakes_are_one_line_and_code_2(draw, folder, arguments, message):
    done = draw(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unconditional_generator_is_refused(draw, tmp_path):
    save_network(tmp_path / "models/generator.safetensors", make_generator(conditional=False))
    done = draw(tmp_path, "1")
    assert done.returncode == 2
    assert "conditional: false" in done.stderr


def test_without_a_trained_generator_the_ready_made_one_draws(draw, tmp_path):
    assert draw(tmp_path, "2026", "-o", "year.png").returncode == 0
    assert Image.open(tmp_path / "year.png").size == (2 * 4 * 22, 2 * 28)


def test_a_device_is_never_replaced(draw, folder):
    try:
        os.mknod(folder / "null.png", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may create devices")
    done = draw(folder, "1", "-o", "null.png")
    assert done.returncode == 2
    assert "cannot write null.png: it is not a regular file" in done.stderr
    assert stat.S_ISCHR((folder / "null.png").stat().st_mode)


def test_paths_are_those_of_the_folder_where_the_user_is(draw, folder):
    """The generator is found in the repository above; the picture goes where the user is."""
    (folder / "dvc.yaml").touch()
    below = folder / "notes" / "pictures"
    below.mkdir(parents=True)
    for output, arguments in (("year.png", ["-o", "year.png"]), ("../up.png", ["-o", "../up.png"]), ("digits.png", [])):
        done = draw(below, "20", *arguments)
        assert done.returncode == 0, done.stderr
        assert (below / output).is_file()
        assert os.path.samefile(done.stdout.strip(), below / output)
    (below / "mine.safetensors").write_bytes((folder / "models/generator.safetensors").read_bytes())
    assert draw(below, "20", "--generator", "mine.safetensors", "-o", "mine.png").returncode == 0
    assert (below / "mine.png").read_bytes() == (below / "year.png").read_bytes()


@pytest.mark.parametrize("grid", [[], ["--grid"]])
def test_the_picture_shows_the_number_that_was_asked_for(draw, tmp_path, grid):
    """Each digit is cut out of the picture and read by the classifier that measures label accuracy."""
    digits, rows, ready_made = "3141592067", 4, str(ROOT / READY_MADE_GENERATOR)
    done = draw(tmp_path, digits, "--count", str(rows), "--generator", ready_made, "-o", "numbers.png", *grid)
    assert done.returncode == 0
    picture = np.asarray(Image.open(tmp_path / "numbers.png"))[::2, ::2]  # a PNG is magnified twofold
    if grid:
        picture = np.pad(picture, ((0, 1), (0, 1))).reshape(rows, 29, len(digits), 29)[:, :28, :, :28]
    else:
        picture = np.pad(picture.reshape(rows, 28, len(digits), 22), ((0, 0), (0, 0), (0, 0), (3, 3)))
    tiles = picture.swapaxes(1, 2).reshape(-1, 28, 28)
    extractor = load_feature_extractor(ROOT / FEATURE_WEIGHTS, ROOT / FEATURE_METADATA)
    read = extractor.features_and_labels(tiles)[1].tolist()
    wanted = [int(digit) for digit in digits * rows]
    assert sum(a == b for a, b in zip(read, wanted, strict=True)) >= 38, read  # of 40: a digit can be ambiguous
