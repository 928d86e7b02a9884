"""Real faults during real training runs: kills, signals, full disks, a dvc that dies."""

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
# With a checkpoint every 0.2 seconds instead of every 10, so that a short training has some to resume from.
FREQUENT_CHECKPOINTS = [
    sys.executable,
    "-c",
    "import runpy, sys; from dcgan.gan import training_loop; "
    "training_loop.CHECKPOINT_INTERVAL_S, training_loop.CHECKPOINT_TIME_FRACTION = 0.2, 1.0; "
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
    return copy(template, tmp_path / "clone")


@pytest.fixture(scope="module")
def finished(template, tmp_path_factory) -> Path:
    """A clone with an uninterrupted training, killed 0.2 seconds after that is complete, as if together with its DVC.

    DVC considers a stage done only when its process has ended: os._exit takes a millisecond, and interpreter shutdown
    would take over half a second.
    """
    folder = copy(template, tmp_path_factory.mktemp("finished") / "clone")
    process = start(folder, DVC_STAGE="train")
    wait_for(lambda: list(folder.glob(".dcgan/runs/*/finished.json")))
    time.sleep(0.2)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return folder


@pytest.fixture(scope="module")
def expected(finished) -> dict[str, bytes]:
    """The outputs of an uninterrupted training."""
    return outputs_of(finished)


@pytest.fixture(scope="module")
def killed(template, tmp_path_factory) -> Path:
    """A clone whose training was killed by kill -9 when it had two checkpoints. Nothing went to its own store yet."""
    folder = copy(template, tmp_path_factory.mktemp("killed") / "clone")
    elsewhere = f"sqlite:///{folder.with_name('elsewhere.db')}"
    process = start(folder, *FREQUENT_CHECKPOINTS, MLFLOW_TRACKING_URI=elsewhere)
    wait_for(lambda: len(checkpoints(folder)) >= 2)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    return folder


@pytest.fixture
def killed_clone(killed, tmp_path) -> Path:
    return copy(killed, tmp_path / "clone")


def copy(folder: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", folder, target], check=True)
    return target


def outputs_of(folder: Path) -> dict[str, bytes]:
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
        assert time.monotonic() < deadline, f"did not happen within {seconds} seconds"
        time.sleep(0.02)


def first_images(folder: Path) -> list[Path]:
    """The snapshot that each training takes before its first step."""
    return list(folder.glob(".dcgan/runs/*/images-000000000.png"))


def points(folder: Path) -> list[tuple[str, int]]:
    """Every (series, step) in the run log, with repetitions."""
    (run_log,) = RunLog.all(folder)
    events = [event for event, _ in run_log.events() if event["event"] == "points"]
    return [(key, event["step"]) for event in events for key in event["values"]]


def kill_until_done(folder: Path, seed: int, most: int) -> tuple[int, int]:
    """Start the trainer again and again, and kill it each time within three seconds of the start of its training.

    Every other time, the three seconds begin once there is a checkpoint, however slow the machine is, because some
    kills must come after one. Returns the number of kills, and of resumptions from a checkpoint.
    """
    moments = random.Random(seed)
    kills = resumptions = 0
    while kills < most:
        process = start(folder, *FREQUENT_CHECKPOINTS)
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
    """Ended, or training and, unless it may be killed early, with a checkpoint to resume from."""
    return process.poll() is not None or (is_training(folder, process) and (early or bool(checkpoints(folder))))


def is_training(folder: Path, process: subprocess.Popen) -> bool:
    """Whether the process has locked its training; a lock file names its holder."""
    return any(str(process.pid) in lock.read_text() for lock in folder.glob(".dcgan/locks/*"))


def check_nothing_lost(folder: Path, expected: dict[str, bytes]) -> None:
    left = outputs_of(folder)
    assert left.keys() == expected.keys()
    assert [name for name in expected if expected[name] != left[name]] == []
    logged = points(folder)
    assert len(logged) == len(set(logged)), "points logged twice"
    rows = expected["metrics/curves.csv"].count(b"\n") - 1
    assert len({step for key, step in logged if key == "train/loss_g"}) == rows, "points lost"
    assert [run_log.status for run_log in RunLog.all(folder)] == ["FINISHED"]


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(12))
def test_many_kills_at_random_moments_change_nothing(clone, expected, seed):
    kills, resumptions = kill_until_done(clone, seed=100 + seed, most=8)
    check_nothing_lost(clone, expected)
    assert resumptions
    print(f"seed {100 + seed}: {kills} kills, {resumptions} resumptions, no point lost or logged twice")


def test_a_finished_training_whose_outputs_dvc_did_not_record_is_not_repeated(finished, expected):
    """DVC was killed between the trainer's end and dvc.lock: its next run deletes the outputs and repeats the stage."""
    for name in expected:
        (finished / name).unlink()
    again = start(finished, DVC_STAGE="train")
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert "writing its outputs from the last checkpoint" in output
    check_nothing_lost(finished, expected)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults)]
)
def test_a_signal_saves_a_checkpoint_and_ends_quickly_and_the_run_resumes(clone, expected, number, code):
    process = start(clone)
    wait_for(lambda: first_images(clone) and points(clone))
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"stopped by {number.name}" in output
    assert "Traceback" not in output
    assert checkpoints(clone)
    assert [run_log.status for run_log in RunLog.all(clone)] == ["KILLED"]
    assert "resuming at" in train(clone).stdout
    check_nothing_lost(clone, expected)


@pytest.mark.extended
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)])
def test_no_trainer_keeps_running_when_dvc_dies(clone, number):
    process = start(clone, "dvc", "repro", "-s", "train", DVC_NO_ANALYTICS="1")
    wait_for(lambda: first_images(clone))
    process.send_signal(number)
    process.wait()
    wait_for(lambda: not trainers_of(clone), seconds=20)
    assert checkpoints(clone)


@pytest.mark.faults
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3])
def test_a_dvc_killed_before_it_records_a_training_does_not_repeat_it(clone, expected, delay):
    """The training is used in the next run, by a forced one only as long as dvc.lock does not record it."""
    dvc = start(clone, "dvc", "repro", "-s", "train")
    wait_for(lambda: trainers_of(clone))
    wait_for(lambda: not trainers_of(clone))
    time.sleep(delay)
    dvc.kill()
    dvc.communicate()
    (clone / ".dvc/tmp/rwlock").unlink(missing_ok=True)  # DVC may leave it empty, and then says to remove it
    run(clone, "dvc", "repro", "-s", "train")
    check_nothing_lost(clone, expected)
    forced = run(clone, "dvc", "repro", "-f", "-s", "train")
    assert "4,800/4,800 images" in forced.stderr and " 0/s" not in forced.stderr
    assert [run_log.status for run_log in RunLog.all(clone)] == ["FINISHED"] * 2
    assert outputs_of(clone) == expected


@pytest.mark.faults
def test_two_queued_experiments_with_equal_training_train_once(clone):
    run(clone, "git", "add", "-A")
    run(clone, "git", "commit", "-qm", "data")
    for seed in (1, 2):
        run(clone, "dvc", "exp", "run", "--queue", "-S", f"evaluate.seed={seed}")
    run(clone, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    run(clone, "dvc", "queue", "stop", "--kill")
    status = run(clone, "dvc", "queue", "status").stdout
    assert status.count("Success") == 2, status
    first, second = RunLog.all(clone)
    assert (first.parent, second.parent) == (None, first.id)


def trainers_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_trainer = b"stages/train.py" in (entry / "cmdline").read_bytes()
            if is_trainer and Path(os.readlink(entry / "cwd")) == folder.resolve():
                found.append(int(entry.name))
        except OSError:  # has ended in the meantime
            continue
    return found


@pytest.mark.extended
def test_a_second_trainer_waits_and_uses_the_result_of_the_first(clone, expected, template, tmp_path):
    """Two queued experiments that differ in their evaluation: each has its workspace, both share the local state."""
    workspace = copy(template, tmp_path / "workspace")
    first = start(clone, DVC_STAGE="train")
    wait_for(lambda: first_images(clone))
    second = start(workspace, DVC_STAGE="train", DVC_ROOT=str(clone))
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert f"waiting: the same training is held by process {first.pid} " in output
    assert "writing its outputs from the last checkpoint" in output
    first.communicate()
    assert first.returncode == 0
    assert outputs_of(workspace) == expected
    assert not (workspace / ".dcgan").exists()
    check_nothing_lost(clone, expected)


@pytest.mark.parametrize(
    "change", ["parameter", *(pytest.param(what, marks=pytest.mark.faults) for what in ("code", "data"))]
)
@pytest.mark.faults
def test_a_change_after_an_interruption_starts_over(killed_clone, change):
    clone = killed_clone
    if change == "parameter":
        change_params(clone, {"train": {"learning_rate": 0.0011}})
    elif change == "code":
        with open(clone / "src/dcgan/gan/losses.py", "a") as stream:
            stream.write("# changed\n")
    else:
        labels = clone / "data/raw/train-labels-idx1-ubyte"
        content = bytearray(labels.read_bytes())
        content[-1] ^= 1
        labels.unlink()
        labels.write_bytes(content)
    process = start(clone)
    wait_for(lambda: process.poll() is not None or len(first_images(clone)) == 2)
    process.terminate()
    output, _ = process.communicate()
    assert "resuming" not in output
    if change == "data":
        assert "train-labels-idx1-ubyte" in output  # damaged data is refused
    else:
        assert "stopped by SIGTERM" in output and len(first_images(clone)) == 2


@pytest.mark.faults
def test_a_kill_and_a_damaged_checkpoint_change_nothing(killed_clone, expected):
    *_, newest = checkpoints(killed_clone)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    output = train(killed_clone).stdout
    assert "is damaged" in output
    assert "resuming at" in output
    check_nothing_lost(killed_clone, expected)


@pytest.mark.faults
def test_a_full_disk_gives_one_clear_line_and_keeps_the_checkpoints(killed_clone):
    """A limit on file sizes simulates a full disk: the next checkpoint cannot be written."""
    kept = {path: path.read_bytes() for path in checkpoints(killed_clone)}
    unfinished = set(killed_clone.glob("**/.checkpoint*"))  # if the kill came while one was written
    largest = max(map(len, kept.values())) - 1
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " + (
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, resource.RLIM_INFINITY)); "
    )
    process = start(killed_clone, sys.executable, "-c", limit + FREQUENT_CHECKPOINTS[-1])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "resuming at" in output
    assert output.count("error: cannot write") == 1
    assert "Traceback" not in output
    assert not list(killed_clone.glob("models/generator*"))
    assert set(killed_clone.glob("**/.checkpoint*")) <= unfinished
    assert {path: path.read_bytes() for path in checkpoints(killed_clone)} == kept
    assert [run_log.status for run_log in RunLog.all(killed_clone)] == ["FAILED"]


def test_divergence_reports_the_step_and_fails_the_run(clone):
    change_params(clone, {"train": {"r1_gamma": 1.0e38, "precision": "fp32"}})  # overflows in the first penalty
    done = train(clone)
    assert done.returncode == 1
    assert "the loss stopped being finite at step" in done.stdout
    assert "Traceback" not in done.stdout
    assert [run_log.status for run_log in RunLog.all(clone)] == ["FAILED"]
    assert not list(clone.glob("models/generator*"))


@pytest.mark.extended
def test_clean_lists_and_removes_what_a_kill_left_behind(killed_clone):
    clone = killed_clone
    command = [sys.executable, "-m", "dcgan.cli", "clean"]
    shown = run(clone, *command, PYTHONPATH="src").stdout
    assert "its trainer is dead, mark it KILLED" in shown
    assert "checkpoint" in shown
    assert "nothing was changed" in shown
    run(clone, *command, "--yes", PYTHONPATH="src")
    assert not list(clone.glob(".dcgan/runs/*"))
    assert [run_log.status for run_log in RunLog.all(clone)] == ["KILLED"]
    assert "nothing to clean" in run(clone, *command, PYTHONPATH="src").stdout
