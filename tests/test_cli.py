"""The `dcgan` command: its help, and how it finds the module of a command."""

import argparse
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from clones import ROOT, run

import dcgan.commands
from dcgan.cli import COMMANDS, main
from dcgan.commands.numbers import whole_number


def output_of(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


def test_help_lists_every_command_in_columns(capsys):
    code, shown, _ = output_of(capsys, "--help")
    assert code == 0
    lines = shown.splitlines()
    columns = {line.index(text) for name, text in COMMANDS.items() for line in lines if line.startswith(f"  {name} ")}
    assert len(columns) == 1
    assert all(any(text in line for line in lines) for text in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_help(capsys, name):
    code, shown, _ = output_of(capsys, name, "--help")
    assert code == 0
    assert shown.startswith(f"usage: dcgan {name} [-h]")


def test_every_module_with_a_command_is_listed():
    """A command that is not in the table could not be run."""
    names = [module.name for module in pkgutil.iter_modules(dcgan.commands.__path__)]
    runnable = {name for name in names if hasattr(importlib.import_module(f"dcgan.commands.{name}"), "run")}
    assert runnable == {name.replace("-", "_") for name in COMMANDS}


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    code, _, error = output_of(capsys, "drwa")
    assert code == 2
    assert "invalid choice: 'drwa'" in error
    assert all(name in error for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["dataset", "-o", "d", "--count", "1e-1"],
            "argument --count: '1e-1' is not a whole number, such as 60000 or 6e4",
        ),
        (["draw"], "the following arguments are required: digits"),
        (["check", "--bseline"], "unrecognized arguments: --bseline"),
    ],
)
def test_a_mistyped_command_line_is_one_line_and_the_help_is_named(capsys, arguments, message):
    expected = f"error: {message}; `dcgan {arguments[0]} --help` shows what is allowed\n"
    assert output_of(capsys, *arguments) == (2, "", expected)


@pytest.mark.parametrize(("text", "number"), [("60000", 60_000), ("60_000", 60_000), ("6e4", 60_000), ("-1e0", -1)])
def test_whole_numbers_may_have_an_exponent(text, number):
    assert whole_number(text) == number and isinstance(whole_number(text), int)


@pytest.mark.parametrize("text", ["", "many", "1.5", "1e-3", "1e400", "nan", "inf"])
def test_anything_else_is_no_whole_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number, such as"):
        whole_number(text)


def test_no_help_needs_torch_or_mlflow():
    """Both take seconds to import."""
    code = (
        "import contextlib, sys\n"
        "from dcgan.cli import COMMANDS, main\n"
        "for arguments in ([], ['--version'], *([name, '--help'] for name in COMMANDS)):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        main(arguments)\n"
        "    if {'torch', 'mlflow'} & sys.modules.keys():\n"
        "        sys.exit(f'imported by {arguments}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: ") == 1 + len(COMMANDS)


def test_without_arguments_the_help_is_shown(capsys):
    assert output_of(capsys) == output_of(capsys, "--help")


def test_the_version_is_that_of_the_package(capsys):
    assert output_of(capsys, "--version") == (0, f"dcgan {version('dcgan-mnist')}\n", "")


@pytest.fixture
def below(tmp_path) -> Path:
    """A folder two levels below the root of a repository with parameters, scores and a baseline."""
    (tmp_path / "dvc.yaml").touch()
    for name in ("params.yaml", "metrics/baseline.json", "metrics/evaluate.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    folder = tmp_path / "src" / "deep"
    folder.mkdir(parents=True)
    return folder


def dcgan_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run(folder, sys.executable, "-m", "dcgan.cli", *arguments, check=False)


@pytest.mark.parametrize("arguments", [["params"], ["check"]], ids=" ".join)
def test_a_command_does_the_same_from_a_folder_below_the_root(below, arguments):
    root = below.parents[1]
    there, here = (dcgan_in(folder, *arguments) for folder in (root, below))
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def test_files_are_those_of_the_folder_where_the_user_is(below):
    """Parameters, scores and baseline that lie beside the user, not those of the repository."""
    root = below.parents[1]
    (below / "mine.yaml").write_text("train: 5")
    done = dcgan_in(below, "params", "mine.yaml")
    assert f"{below}/mine.yaml: train is 5" in done.stderr
    for name in ("evaluate.json", "baseline.json"):
        (root / "metrics" / name).rename(below / name)
    done = dcgan_in(below, "check", "evaluate.json", "--baseline", "baseline.json")
    assert done.returncode == 0, done.stderr
    done = dcgan_in(below, "check", "evaluate.json", "--baseline", "../baseline.json")
    assert f"there is no baseline {below}/../baseline.json" in done.stderr
