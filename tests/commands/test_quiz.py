"""`dcgan quiz` as a user runs it: the page, the question, the count, and mistakes."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcgan.cli import main
from dcgan.commands import quiz as command
from dcgan.data.mnist import load_split, write_idx
from dcgan.evaluation.quiz import PAIRS, quiz_key


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path, mnist_dir) -> Path:
    """A workspace with 200 digits of MNIST as samples."""
    images, labels = (part[:200] for part in load_split(mnist_dir, "train"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(mnist_dir)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "samples").mkdir()
    write_idx(tmp_path / "samples/images-idx3-ubyte", images)
    write_idx(tmp_path / "samples/labels-idx1-ubyte", labels)
    return tmp_path


@pytest.fixture
def quiz(folder, monkeypatch, capsys):
    """Call `dcgan quiz` in this process, with `typed` at a terminal, or without one."""

    def call(*arguments: str, typed: str | None = None) -> subprocess.CompletedProcess:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
        with pytest.raises(SystemExit) as ended:
            main(["quiz", *arguments])
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    return call


def test_it_writes_another_page_each_time_and_counts_its_answers(quiz, folder):
    first, second = quiz(), quiz()
    assert first.returncode == second.returncode == 0 and first.stderr == ""
    path, seed_line = first.stdout.splitlines()
    assert path == str(folder / "metrics/quiz.html") and seed_line != second.stdout.splitlines()[1]
    (seed,) = re.findall(r"^seed (\d+);", seed_line)
    counted = quiz("--seed", seed, "--answers", quiz_key(int(seed)))
    assert counted.stdout.startswith("40 of 40 found: 100%")


def test_the_same_seed_gives_the_same_page_where_the_user_wants_it(quiz, folder):
    quiz("--seed", "5")
    quiz("--seed", "5", "-o", "mine.html")
    assert (folder / "mine.html").read_bytes() == (folder / "metrics/quiz.html").read_bytes()


def test_at_a_terminal_it_asks_until_the_answers_can_be_counted(quiz):
    done = quiz("--seed", "5", typed=f"what?\n{'L' * PAIRS}\n")
    found = quiz_key(5).count("L")
    assert done.returncode == 0 and "allowed are L and R" in done.stdout and f"{found} of 40 found" in done.stdout


@pytest.mark.parametrize("typed", ["\n", ""])
def test_an_empty_answer_or_the_end_of_input_leaves_it_for_later(quiz, typed):
    done = quiz("--seed", "5", typed=typed)
    assert done.returncode == 0 and "found" not in done.stdout and "--seed 5 --answers" in done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--answers", "L"], "--answers needs the --seed"),
        (["--seed", "5", "--answers", "LR"], "2 answers for 40 pairs"),
        (["--seed", "-1"], "--seed is -1; allowed are 0 to 2147483647"),
        (["-o", "nowhere/quiz.html"], "there is no folder nowhere"),
    ],
)
def test_mistakes_are_one_line(quiz, arguments, message):
    done = quiz(*arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_without_samples_it_says_what_is_missing(quiz, folder):
    (folder / "samples/images-idx3-ubyte").unlink()
    done = quiz()
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "make them with `make repro`" in done.stderr


def test_digits_drawn_without_labels_are_paired_by_what_they_look_like(quiz, folder, monkeypatch):
    images, labels = load_split(folder / "data/raw", "train")
    (folder / "samples/labels-idx1-ubyte").unlink()
    root = Path(__file__).parents[2]
    (folder / "models").symlink_to(root / "models")
    assert quiz("--seed", "5").returncode == 0
    assert (command._labels(images[:200]) == labels[:200]).mean() > 0.98
    assert isinstance(command._labels(images[:200]), np.ndarray)
