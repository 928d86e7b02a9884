"""The wheel: it draws without a clone, and without the packages of the extra `pipeline`."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Runs `dcgan` on the modules in argv[1], as if the packages named in argv[2] were not installed.
WITHOUT = """
import sys

class Missing:
    names = sys.argv[2].split(",")

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Missing())
from dcgan.cli import main
main(sys.argv[3:])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with what the wheel installs. It is built from a copy: setuptools leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def modules_of_extra(extra: str) -> str:
    """Top-level modules of the packages that the extra lists, comma-separated."""
    packages = {re.match(r"[\w.-]+", line)[0].lower() for line in PROJECT["optional-dependencies"][extra]}
    return ",".join(
        module for module, owners in packages_distributions().items() if packages & {owner.lower() for owner in owners}
    )


def dcgan(installed: Path, folder: Path, *arguments: str, extra: str | None = None) -> subprocess.CompletedProcess:
    """Run `dcgan` without the packages of the extra `pipeline`, except those that are in `extra` too."""
    missing = set(modules_of_extra("pipeline").split(",")) - set(modules_of_extra(extra).split(",") if extra else ())
    command = [sys.executable, "-I", "-c", WITHOUT, str(installed), ",".join(sorted(missing)), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_extra_is_what_a_small_installation_lacks():
    assert {"dvc", "mlflow", "torchmetrics", "scipy"} <= set(modules_of_extra("pipeline").split(","))


def test_a_number_is_drawn_without_a_clone_and_without_the_pipeline(installed, tmp_path):
    done = dcgan(installed, tmp_path, "draw", "2026", "-o", "year.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert Image.open(tmp_path / "year.png").size == (2 * 4 * 22, 2 * 28)


@pytest.mark.parametrize("command", ["check", "publish"])  # one needs its package at once, the other later
def test_a_command_of_the_pipeline_names_the_missing_package_and_the_extra(installed, tmp_path, command):
    done = dcgan(installed, tmp_path, command)
    assert done.returncode == 2
    assert re.search(r"^error: the package \w+ is not installed.*\[pipeline\]", done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_data_set_needs_no_more_than_its_own_extra(installed, tmp_path):
    arguments = ("dataset", "-o", "digits", "--count", "2", "--test-count", "1", "--format", "parquet")
    done = dcgan(installed, tmp_path, *arguments, extra="datasets")
    assert (done.returncode, done.stdout) == (0, "digits\n"), done.stderr
    assert (tmp_path / "digits/data/train-00000-of-00001.parquet").exists()
    done = dcgan(installed, tmp_path, *arguments)
    assert done.returncode == 2
    assert re.search(r"^error: the package \w+ is not installed.*\[datasets\]", done.stderr)
