"""Which module may import which: the contracts in pyproject.toml, checked by import-linter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(source: Path) -> subprocess.CompletedProcess:
    """Check the package in the folder `source` against the contracts."""
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(source), "COLUMNS": "500"}
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)


def test_imports_keep_to_the_contracts():
    done = lint(ROOT / "src")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("importing", "imported"),
    [
        ("gan.losses", "data.mnist"),
        ("data.mnist", "evaluation.report"),
        ("evaluation.metrics.prdc", "gan.rng"),
        ("evaluation.report", "gate.settings"),
        ("tracking.run_log", "gate.settings"),
        ("tracking.run_log", "paths"),
        ("tracking.sender", "params"),
        ("gate.settings", "scores"),
        ("gate.compare", "images"),
        ("gate.compare", "constants"),
        ("gate.compare", "gate_settings"),
        ("gate.compare", "commands.check"),
        ("gan.trainer", "cli"),
        ("cluster.node", "tracking.run_log"),
        ("cluster.driver", "paths"),
        ("cluster.grid", "commands.sweep"),
        ("params", "commands.params"),
        ("images", "gan.networks"),
        ("support.files", "paths"),
        ("support.lock", "constants"),
        ("constants", "support.files"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(tmp_path, importing, imported):
    copy = Path(shutil.copytree(ROOT / "src" / "dcgan", tmp_path / "dcgan"))
    with open(copy / f"{importing.replace('.', '/')}.py", "a") as stream:
        stream.write(f"\n\ndef late() -> None:\n    import dcgan.{imported}\n")  # imports inside functions count too
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"dcgan.{importing} -> dcgan.{imported}" in done.stdout


def test_a_new_module_needs_a_place_in_the_layers(tmp_path):
    copy = Path(shutil.copytree(ROOT / "src" / "dcgan", tmp_path / "dcgan"))
    (copy / "helpers.py").touch()
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    assert "helpers" in done.stdout
