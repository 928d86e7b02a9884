"""The Makefile: its help, and an environment that an interruption never leaves broken."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clones import ROOT, environment

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "small"
version = "1"
[tool.setuptools]
packages = []
"""


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=folder, env=outside(), capture_output=True, text=True)


def outside() -> dict[str, str]:
    """The environment of a user who has not activated the one that runs the tests, which `make` itself may run."""
    clean = {key: value for key, value in environment().items() if not key.startswith("MAKE")}
    path = clean["PATH"].split(":")
    return clean | {"PATH": ":".join(part for part in path if not (Path(part).parent / "pyvenv.cfg").exists())}


def test_make_alone_shows_every_target_and_starts_nothing(tmp_path):
    makefile = (ROOT / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(makefile)
    shown = make(tmp_path)
    assert shown.returncode == 0
    assert shown.stdout == make(tmp_path, "help").stdout
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert [line.split()[1] for line in shown.stdout.splitlines()] == re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert {line.split()[1] for line in shown.stdout.splitlines()} == set(targets)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_every_locked_package_has_hashes_and_a_version():
    """What the index did not serve when the versions were chosen is then refused."""
    locks = {path.name: locked(path) for path in ROOT.glob("requirements*.txt")}
    parts = ("", "-test", "-extras", "-cluster", "-team")
    assert set(locks) == {f"requirements{part}.txt" for part in parts}
    entries = [entry for lock in locks.values() for entry in lock.values()]
    assert [
        entry.splitlines()[0] for entry in entries if not re.match(r"\S+==\S+ .*\\\n\s+--hash=sha256:", entry)
    ] == []
    assert {"setuptools", "uv"} <= set(locks["requirements.txt"]), "they install the rest"


def test_the_pipeline_installs_nothing_that_only_tests_need():
    run, test, extras = (locked(ROOT / f"requirements{part}.txt") for part in ("", "-test", "-extras"))
    assert {"torch", "dvc", "mlflow", "pyarrow"} <= set(run)
    assert {"pytest", "ruff", "import-linter"} <= set(test) - set(run)
    assert {"onnx", "onnxruntime", "datasets"} <= set(extras) - set(run) - set(test)


def locked(path: Path) -> dict[str, str]:
    """Package -> its entry in a lock."""
    entries = re.split(r"\n(?=[a-z0-9])", path.read_text().split("\n", 2)[2])
    return {entry.partition("==")[0]: entry for entry in entries}


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with this Makefile that needs setuptools and uv only, as locked here."""
    for name in ("Makefile", "install.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    entries = locked(ROOT / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("\n".join(entries[name] for name in ("setuptools", "uv")))
    return tmp_path


@pytest.mark.faults
def test_an_environment_survives_interruptions(project):
    """kill -9 at random moments while it is made, and a half-installed pip: the next make repairs both."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(4):
        started = subprocess.Popen(["make", ".venv/ready"], cwd=project, env=outside(), start_new_session=True)
        time.sleep(moments.uniform(0.05, 4))
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    assert_made(project)
    (project / ".venv" / "ready").unlink()
    shutil.rmtree(next((project / ".venv" / "lib").glob("python3*/site-packages/pip")))
    assert_made(project)


def assert_made(project: Path) -> None:
    done = make(project, ".venv/ready")
    assert done.returncode == 0, done.stdout + done.stderr
    check = "import importlib.metadata as m, sys; print(sys.prefix, m.version('small'), m.version('setuptools'))"
    found = subprocess.run([project / ".venv/bin/python", "-c", check], capture_output=True, text=True)
    setuptools = re.search(r"==(\S+)", (project / "requirements.txt").read_text())[1]
    assert found.stdout.split() == [str(project / ".venv"), "1", setuptools]


@pytest.mark.faults
def test_a_package_with_another_hash_is_refused(project):
    path = project / "requirements.txt"
    path.write_text(re.sub(r"sha256:\w+", "sha256:" + "0" * 64, path.read_text()))
    done = make(project, ".venv/ready")
    assert done.returncode == 2
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (project / ".venv" / "ready").exists()
