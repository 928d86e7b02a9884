"""The `dcgan` command: its help, and how it finds the module of a command."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import dcgan.commands
from dcgan.cli import COMMANDS, main


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


def test_help_needs_neither_torch_nor_mlflow():
    """Both take seconds to import."""
    code = (
        "import sys, dcgan.cli\n"
        "try:\n    dcgan.cli.main(['--help'])\n"
        "finally:\n    print(*{'torch', 'mlflow'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "\n")
