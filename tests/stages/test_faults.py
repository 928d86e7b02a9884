"""What happens to a training happens here for real: kills, signals, full disks, a dvc that dies."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clones import change_params, environment, make_clone, run

from dcgan.tracking.run_log import RunLog

STAGE = [sys.executable, "stages/train.py"]
# With checkpoints a fifth of a second apart instead of ten, so that a training of seconds has some to go on from.
SAVING_OFTEN = [
    sys.executable,
    "-c",
    "import runpy, sys; from dcgan import training; "
    "training.CHECKPOINT_AT_LEAST_S, training.CHECKPOINT_SHARE = 0.2, 1.0; "
    "sys.argv = ['stages/train.py']; runpy.run_path('stages/train.py', run_name='__main__')",
]
BUDGET = {"train": {"images": 4800, "workers": 2, "batch_size": 16, "snapshots": 3}}


@pytest.fixture(scope="module")
def template(tmp_path_factory, mnist_dir) -> Path:
    """A clone with data, ready to train."""
    folder = make_clone(tmp_path_factory.mktemp("faults"), mnist_dir)
    change_params(folder, BUDGET)
    run(folder, "dvc", "repro", "download")
    return folder


@pytest.fixture
def clone(template, tmp_path) -> Path:
    folder = tmp_path / "clone"
    subprocess.run(["cp", "-r", template, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def expected(template, tmp_path_factory) -> dict[str, bytes]:
    """What a training leaves that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "clone"
    subprocess.run(["cp", "-r", template, folder], check=True)
    assert train(folder).returncode == 0
    return left_by(folder)


def left_by(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("models/[gd]*ator.*"), *folder.glob("metrics/[cpt]*"), *folder.glob("metrics/*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def start(folder: Path, *command: str, **variables: str) -> subprocess.Popen:
    everything = environment() | {"PYTHONPATH": "src", "DCGAN_PUBLISH_EVERY_S": "1"} | variables
    return subprocess.Popen(
        command or STAGE, cwd=folder, env=everything, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def train(folder: Path) -> subprocess.CompletedProcess:
    process = start(folder)
    output, _ = process.communicate()
    return subprocess.CompletedProcess(STAGE, process.returncode, output)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(".dcgan/runs/*/checkpoint-*"))


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def points(folder: Path) -> list[tuple[str, int]]:
    """Every (series, step) of the training's record, as often as it stands there."""
    (record,) = RunLog.all(folder)
    events = [event for event, _ in record.events() if event["event"] == "points"]
    return [(key, event["step"]) for event in events for key in event["values"]]


def kill_until_done(folder: Path, seed: int, most: int) -> tuple[int, int]:
    """Start the trainer again and again, each time killing it within three seconds of its taking up the work.

    Every other time the three seconds begin when there is a checkpoint, however slow the machine: some kills must come
    after one. Returns how often it was killed, and how often it went on from a checkpoint.
    """
    moments = random.Random(seed)
    kills = resumptions = 0
    while kills < most:
        process = start(folder, *SAVING_OFTEN)
        wait_for(lambda process=process, early=kills % 2 == 0: ready(folder, process, early))
        try:
            output, _ = process.communicate(timeout=moments.uniform(0.0, 3.0))
            assert process.returncode == 0, output
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        resumptions += "resuming at" in output
        if process.returncode == 0:
            return kills, resumptions
        kills += 1
    last = train(folder)
    assert last.returncode == 0, last.stdout
    return kills, resumptions + ("resuming at" in last.stdout)


def ready(folder: Path, process: subprocess.Popen, early: bool) -> bool:
    """Ended, or at work and, unless it may be killed early, with a checkpoint to go on from."""
    return process.poll() is not None or (is_at_work(folder, process) and (early or bool(checkpoints(folder))))


def is_at_work(folder: Path, process: subprocess.Popen) -> bool:
    return any(str(process.pid) in lock.read_text() for lock in folder.glob(".dcgan/runs/*/lock"))


def check_nothing_lost(folder: Path, expected: dict[str, bytes]) -> None:
    left = left_by(folder)
    assert left.keys() == expected.keys()
    assert [name for name in expected if expected[name] != left[name]] == []
    told = points(folder)
    assert len(told) == len(set(told)), "points doubled"
    rows = expected["metrics/curves.csv"].count(b"\n") - 1
    assert len({step for key, step in told if key == "train/loss_g"}) == rows, "points lost"
    assert [record.status for record in RunLog.all(folder)] == ["FINISHED"]


def test_kills_at_random_moments_change_nothing(clone, expected):
    kills, resumptions = kill_until_done(clone, seed=1, most=3)
    check_nothing_lost(clone, expected)
    assert kills
    assert resumptions


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(12))
def test_many_kills_at_random_moments_change_nothing(clone, expected, seed):
    kills, resumptions = kill_until_done(clone, seed=100 + seed, most=8)
    check_nothing_lost(clone, expected)
    assert resumptions
    print(f"seed {100 + seed}: {kills} kills, {resumptions} times from a checkpoint, 0 points lost, 0 points doubled")


def test_a_kill_before_the_record_exists_leaves_no_second_one(clone):
    """Seen once in a hundred kills: dead between the creation of the record and the note of its id."""
    dying = "import os, runpy, sys; from dcgan.tracking.run_log import RunLog; " + (
        "create = RunLog.create; "
        "RunLog.create = lambda *a, **k: (create(*a, **k), os.kill(os.getpid(), 9)); "
        "sys.argv = ['stages/train.py']; runpy.run_path('stages/train.py', run_name='__main__')"
    )
    process = start(clone, sys.executable, "-c", dying)
    process.communicate()
    assert process.returncode == -9
    assert train(clone).returncode == 0
    assert [record.status for record in RunLog.all(clone)] == ["FINISHED"]


def test_a_kill_after_the_work_is_done_finds_no_process(clone):
    """DVC counts a stage as done at its exit: one killed after it forgot its record would be told a second time."""
    process = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    wait_for(lambda: not list(clone.glob(".dcgan/runs/*")))
    time.sleep(0.2)  # an exit takes a millisecond, the interpreter's own farewell over half a second
    process.kill()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults)]
)
def test_a_polite_signal_saves_and_ends_quickly_and_the_run_resumes(clone, expected, number, code):
    process = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert process.returncode == code
    assert f"stopped by {number.name}" in output
    assert "Traceback" not in output
    assert checkpoints(clone)
    assert [record.status for record in RunLog.all(clone)] == ["KILLED"]
    assert "resuming at" in train(clone).stdout
    check_nothing_lost(clone, expected)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)])
def test_no_orphan_trains_on_when_dvc_dies(clone, number):
    process = start(clone, "dvc", "repro", "-s", "train", DVC_NO_ANALYTICS="1")
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    process.send_signal(number)
    process.wait()
    wait_for(lambda: not trainers_of(clone), seconds=20)
    assert checkpoints(clone)


def trainers_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_trainer = b"stages/train.py" in (entry / "cmdline").read_bytes()
            if is_trainer and Path(os.readlink(entry / "cwd")) == folder.resolve():
                found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return found


def test_a_second_trainer_on_the_same_work_is_refused_with_who_holds_it(clone):
    change_params(clone, {"train": {"images": 480_000}})  # not done while the second one waits
    first = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    second = start(clone)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"process {first.pid}" in output
    assert first.poll() is None
    first.kill()
    first.communicate()


@pytest.mark.parametrize(
    "change", ["parameter", *(pytest.param(kind, marks=pytest.mark.faults) for kind in ("code", "data"))]
)
def test_a_change_after_an_interruption_starts_afresh(clone, change):
    process = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    if change == "parameter":
        change_params(clone, {"train": {"learning_rate": 0.0011}})
    elif change == "code":
        with open(clone / "src/dcgan/losses.py", "a") as stream:
            stream.write("# changed\n")
    else:
        labels = clone / "data/raw/train-labels-idx1-ubyte"
        content = bytearray(labels.read_bytes())
        content[-1] ^= 1
        labels.unlink()
        labels.write_bytes(content)
    output = train(clone).stdout
    assert "resuming" not in output
    if change == "data":
        assert "train-labels-idx1-ubyte" in output  # altered data is refused, not trained on


def test_a_damaged_checkpoint_is_said_and_the_one_before_used(clone, expected):
    process = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    (newest,) = checkpoints(clone)
    older = newest.with_name("checkpoint-000000001")
    older.write_bytes(newest.read_bytes())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    output = train(clone).stdout
    assert "is damaged" in output
    assert "resuming at" in output
    check_nothing_lost(clone, expected)


def test_a_full_disk_ends_in_one_clear_line_and_loses_nothing(clone, expected):
    """A limit on the size of files stands for the full disk: writing beyond it fails in the same place."""
    limited = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY)); "
        "sys.argv = ['stages/train.py']; runpy.run_path('stages/train.py', run_name='__main__')"
    )
    process = start(clone, sys.executable, "-c", limited)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "error: cannot write" in output
    assert "Traceback" not in output
    assert not list(clone.glob("models/generator*"))
    assert not list(clone.glob("**/.checkpoint*"))
    assert train(clone).returncode == 0
    left = left_by(clone)
    assert [name for name in expected if expected[name] != left.get(name)] == []


def test_divergence_names_the_step_keeps_the_last_good_state_and_fails_the_run(clone):
    change_params(clone, {"train": {"r1_gamma": 1.0e38, "precision": "fp32"}})  # overflows in the first penalty
    done = train(clone)
    assert done.returncode == 1
    assert "the loss is not finite since step" in done.stdout
    assert "Traceback" not in done.stdout
    assert [record.status for record in RunLog.all(clone)] == ["FAILED"]
    assert not list(clone.glob("models/generator*"))


def test_clean_shows_and_removes_what_a_kill_left(clone):
    process = start(clone)
    wait_for(lambda: list(clone.glob(".dcgan/runs/*/images-000000000.png")))
    process.kill()
    process.communicate()
    command = [sys.executable, "-m", "dcgan.cli", "clean"]
    shown = run(clone, *command, PYTHONPATH="src").stdout
    assert "its trainer is dead, mark it KILLED" in shown
    assert "checkpoint" in shown
    assert "nothing was changed" in shown
    run(clone, *command, "--yes", PYTHONPATH="src")
    assert not list(clone.glob(".dcgan/runs/*"))
    assert [record.status for record in RunLog.all(clone)] == ["KILLED"]
    assert "nothing to clean" in run(clone, *command, PYTHONPATH="src").stdout
    assert "resuming" not in train(clone).stdout
