"""Training by several processes of torchrun: the same bytes for any number of them, and an end of all when one ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from clones import change_params, environment, make_clone, run
from tracking.helpers import wait_for

from dcgan.tracking.run_log import RunLog

BUDGET = {"train": {"images": 960, "workers": 4, "batch_size": 32, "snapshots": 3}}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=0")
OFTEN = "import runpy, sys; from dcgan.gan import training_loop; training_loop.CHECKPOINT_INTERVAL_S = 0.1; "
OFTEN += "training_loop.CHECKPOINT_TIME_FRACTION = 1.0; runpy.run_path('stages/train.py', run_name='__main__')\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory, mnist_dir) -> Path:
    """A clone with data, ready to train, that saves checkpoints often."""
    folder = make_clone(tmp_path_factory.mktemp("torchrun"), mnist_dir)
    change_params(folder, BUDGET)
    run(folder, "dvc", "repro", "download")
    (folder / "train_often.py").write_text(OFTEN)
    return folder


@pytest.fixture(scope="module")
def expected(template, tmp_path_factory) -> dict[str, bytes]:
    """The outputs of a training in one process."""
    folder = copy(template, tmp_path_factory.mktemp("one") / "clone")
    run(folder, sys.executable, "stages/train.py", PYTHONPATH="src")
    return outputs(folder)


def copy(folder: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", folder, target], check=True)
    return target


def outputs(folder: Path) -> dict[str, bytes]:
    files = [path for name in ("models", "metrics") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def start() -> Iterator[Callable[[Path, int], subprocess.Popen]]:
    """Start torchrun in a folder with so many processes; its output goes to `log`. Nothing outlives the test."""
    started = []

    def start_one(folder: Path, processes: int) -> subprocess.Popen:
        variables = {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1", "DCGAN_PUBLISH_EVERY_S": "600"}
        with open(folder / "log", "wb") as log:
            command = [*TORCHRUN, f"--nproc-per-node={processes}", "train_often.py"]
            started.append(subprocess.Popen(command, cwd=folder, env=environment() | variables, stdout=log, stderr=log))
        return started[-1]

    yield start_one
    for process in started:
        if process.poll() is None:
            process.terminate()  # and with it its processes
            process.wait(60)


def ranks(torchrun: subprocess.Popen) -> list[psutil.Process]:
    """Its processes, in the order of their ranks."""
    found = [child for child in psutil.Process(torchrun.pid).children() if "train_often.py" in child.cmdline()]
    return sorted(found, key=lambda process: int(process.environ()["RANK"]))


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(".dcgan/runs/*/checkpoint-*"))


def check_end(folder: Path, expected: dict[str, bytes]) -> None:
    """The outputs are those of one process; there is one run log, without a repeated point."""
    assert outputs(folder) == expected
    (run_log,) = RunLog.all(folder)
    assert run_log.status == "FINISHED"
    points = [
        (key, event["step"]) for event, _ in run_log.events() if event["event"] == "points" for key in event["values"]
    ]
    assert len(points) == len(set(points)) > 100


@pytest.mark.extended
@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_gives_the_bytes_of_one(start, template, expected, tmp_path, processes):
    folder = copy(template, tmp_path / "clone")
    assert start(folder, processes).wait(600) == 0, (folder / "log").read_text()
    check_end(folder, expected)
    assert (folder / "log").read_text().count("960/960 images") == 1  # one writer


@pytest.mark.extended
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_all_and_another_number_goes_on(start, template, expected, tmp_path, victim):
    folder = copy(template, tmp_path / "clone")
    torchrun = start(folder, 2)
    wait_for(lambda: checkpoints(folder))
    everyone = ranks(torchrun)
    everyone[victim].kill()
    started = time.monotonic()
    assert torchrun.wait(120) != 0
    print(f"process {victim} killed: all ended after {time.monotonic() - started:.1f} s")
    assert not any(process.is_running() for process in everyone)
    log = (folder / "log").read_text()
    assert "another process of this training has ended" in log and "exitcode  : -9" in log
    if victim == 1:
        (run_log,) = RunLog.all(folder)
        assert run_log.status == "FAILED" and "another process" in run_log.tags["end.reason"]
    assert start(folder, 4 if victim else 1).wait(600) == 0, (folder / "log").read_text()
    assert re.search(r"resuming at [\d,]+ of 960 images", (folder / "log").read_text())
    check_end(folder, expected)


@pytest.mark.extended
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_stop_with_torchrun_and_save_a_checkpoint(start, template, expected, tmp_path, number):
    """Asked to stop, it asks them; killed, it leaves them, and they notice."""
    folder = copy(template, tmp_path / "clone")
    torchrun = start(folder, 2)
    wait_for(lambda: checkpoints(folder))
    everyone = ranks(torchrun)
    os.kill(torchrun.pid, number)
    wait_for(lambda: not any(process.is_running() for process in everyone))
    torchrun.wait(60)
    log = (folder / "log").read_text()
    assert "a checkpoint was saved, and the same command resumes from it" in log
    run(folder, sys.executable, "stages/train.py", PYTHONPATH="src")
    check_end(folder, expected)


@pytest.mark.extended
def test_processes_that_cannot_share_the_workers_evenly_are_refused_in_one_line(start, template, tmp_path):
    folder = copy(template, tmp_path / "clone")
    assert start(folder, 3).wait(120) == 1
    assert "torchrun started 3 processes, but train.workers is 4;" in (folder / "log").read_text()
    assert "--nproc-per-node may be 1, 2, 4" in (folder / "log").read_text()
