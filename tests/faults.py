"""kill -9 of one process of the pipeline at a random moment, and what was lost by it.

    faults = Faults.prepare(folder, mnist)               # a small pipeline, run to its end once without a kill
    episode = faults.start(folder / "1", "sample", rng)  # a clone in which the sample stage is due
    episode.kill("sample")                               # run `dvc repro` and kill its sample stage; repeat at will
    episode.finish()                                     # run the pipeline to its end
    print(episode.damage())

`KINDS` has the kinds of processes that can be killed.
"""

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from clones import change_params, environment, make_clone, results, run

from dcgan.tracking.run_log import RunLog

REPRO = ("dvc", "repro")
PUBLISH = (sys.executable, "-m", "dcgan.cli", "publish")
BUDGET = {"train": {"images": 1600, "workers": 2, "batch_size": 16}}
GAP_S = 0.6  # from the end of a stage's process to the moment when dvc.lock records it, and a little more
TIMEOUT_S = 1200  # of a pipeline on a busy machine; it takes some 20 seconds on an idle one

Points = list[tuple[str, int, float]]  # (series, step, value), with repetitions


@dataclass(frozen=True)
class Kind:
    """A kind of process: what its command line contains, the command that starts it, and the stage it works for."""

    words: tuple[str, ...]
    command: tuple[str, ...] = REPRO
    stage: str | None = "evaluate"  # once dvc.lock records this one, the command starts no such process any more


KINDS = {
    "trainer": Kind(("stages/train.py",), stage="train"),
    "dvc": Kind(REPRO),
    "sender": Kind(("dcgan.tracking.sender",)),
    "sample": Kind(("stages/sample.py",), stage="sample"),
    "evaluate": Kind(("stages/evaluate.py",)),
    "publish": Kind(("dcgan.cli", "publish"), PUBLISH, stage=None),
}
DONE_BEFORE = {"sample": "train", "evaluate": "sample", "publish": "evaluate"}  # the last stage done when one is due


@dataclass
class Damage:
    """What differs from a pipeline that nobody killed; `notes` says where."""

    points_lost: int = 0
    points_doubled: int = 0
    runs_too_many: int = 0
    bytes_differing: int = 0  # outputs with other bytes
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Damage") -> "Damage":
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def add_points(self, where: str, points: Points, expected: Points) -> None:
        lost, doubled = len(set(expected) - set(points)), len(points) - len({point[:2] for point in points})
        self.points_lost += lost
        self.points_doubled += doubled
        if lost or doubled:
            self.notes.append(f"{where}: {lost} points lost, {doubled} doubled")


@dataclass(frozen=True)
class Faults:
    """Clones at several stages of the pipeline, and the result that each of them must come to."""

    clones: dict[str | None, Path]  # by the last stage that is done
    outputs: dict[str, bytes]
    points: Points
    images: Counter  # (series, step) of the images in MLflow
    lifetimes: dict[str, float]  # seconds that a process of each kind lives

    @classmethod
    def prepare(cls, folder: Path, mnist: Path) -> "Faults":
        first = make_clone(folder / "first", mnist)
        change_params(first, BUDGET)
        save_checkpoints_often(first)
        run(first, *REPRO, "download")
        run(first, *PUBLISH, PYTHONPATH="src")  # creates the store
        clones, lifetimes = {None: first}, {}
        for done, stage in ((None, "train"), ("train", "sample"), ("sample", "evaluate")):
            clones[stage] = _copy(clones[done], folder / stage)
            lifetimes |= _lifetimes(clones[stage], (*REPRO, stage))
        whole = clones["evaluate"]
        lifetimes |= _lifetimes(whole, PUBLISH)
        ((run_id, status),) = _runs(whole)
        assert status == "FINISHED"
        return cls(clones, results(whole), _stored_points(whole, run_id), _stored_images(whole, run_id), lifetimes)

    def start(self, folder: Path, kind: str, rng: random.Random) -> "Episode":
        """A new clone in which a process of this kind is due; one in three has no store yet.

        If `dcgan publish` is due, the store is empty or not there, so that there is something to send.
        """
        clone = _copy(self.clones[DONE_BEFORE.get(kind)], folder)
        has_store = rng.random() > 1 / 3
        if kind == "publish" or not has_store:
            subprocess.run("rm -rf mlflow.db mlartifacts .dcgan/run_logs/*/sent-*", cwd=clone, shell=True, check=True)
        if kind == "publish" and has_store:
            _copy_store(self.clones[None], clone)
        return Episode(clone, self, rng)


@dataclass
class Episode:
    clone: Path
    faults: Faults
    rng: random.Random
    kills: Counter = field(default_factory=Counter)

    def possible(self) -> list[str]:
        """The kinds that can be killed in the clone's present state."""
        done = set(yaml.safe_load((self.clone / "dvc.lock").read_text())["stages"])
        return [name for name, kind in KINDS.items() if kind.stage not in done]

    def kill(self, name: str) -> None:
        """Start what starts this kind of process, kill that at a random moment, and wait for the command to end.

        A stage has one sender, so up to three of those are killed. No kill happens if the process ends before.
        """
        self._repair_dvc()
        main = _start(self.clone, KINDS[name].command)
        if name == "publish" or (name == "dvc" and self.rng.random() < 0.5):
            self._kill_at_a_random_moment(name, psutil.Process(main.pid))
        elif name == "dvc":
            self._kill_in_a_gap(main)
        else:
            for process in _appearing(self.clone, KINDS[name].words, main):
                self._kill_at_a_random_moment(name, process)
        main.wait(TIMEOUT_S)

    def finish(self) -> None:
        """Run the pipeline to its end, send what has not been sent, and wait for all processes.

        Raises:
            AssertionError: something does not come to its end.
        """
        self._repair_dvc()
        for command in (REPRO, PUBLISH):
            code = _start(self.clone, command).wait(TIMEOUT_S)
            assert code == 0, f"{command} exited with {code}:\n{_log(self.clone).read_text()[-3000:]}"
        deadline = time.monotonic() + TIMEOUT_S
        while left := _processes(self.clone, ()):
            assert time.monotonic() < deadline, f"still running: {[process.info['cmdline'] for process in left]}"
            time.sleep(0.1)

    def damage(self) -> Damage:
        damage = Damage()
        outputs, expected = results(self.clone), self.faults.outputs
        differing = {name for name in outputs.keys() | expected.keys() if outputs.get(name) != expected.get(name)}
        damage.bytes_differing = len(differing)
        damage.notes += [f"other bytes: {name}" for name in sorted(differing)]
        run_logs, runs = RunLog.all(self.clone), _runs(self.clone)
        damage.runs_too_many = len(run_logs) + len(runs) - 2
        states = {f"run log {run_log.id}": run_log.status for run_log in run_logs}
        states |= {f"run {run_id}": status for run_id, status in runs}
        if damage.runs_too_many or set(states.values()) != {"FINISHED"}:
            damage.notes.append(str(states))
        for run_log in run_logs:
            damage.add_points(f"run log {run_log.id}", _logged_points(run_log), self.faults.points)
        for run_id, _ in runs:
            damage.add_points(f"run {run_id}", _stored_points(self.clone, run_id), self.faults.points)
            if (images := _stored_images(self.clone, run_id)) != self.faults.images:
                damage.notes.append(f"run {run_id} has the images {images}")
        return damage

    def _kill_at_a_random_moment(self, name: str, process: psutil.Process) -> None:
        try:
            process.wait(self.rng.uniform(0, self.faults.lifetimes[name]))
        except psutil.TimeoutExpired:
            process.kill()
            self.kills[name] += 1

    def _kill_in_a_gap(self, dvc: subprocess.Popen) -> None:
        """Between the end of a stage's process and dvc.lock, where only DVC is at work."""
        stage = next(_appearing(self.clone, ("stages/",), dvc), None)
        if stage is not None:
            stage.wait(TIMEOUT_S)
            time.sleep(self.rng.uniform(0, GAP_S))
        if dvc.poll() is None:
            dvc.kill()
            self.kills["dvc"] += 1

    def _repair_dvc(self) -> None:
        """DVC writes this file in place, and says to remove it when a kill has left it empty."""
        path = self.clone / ".dvc" / "tmp" / "rwlock"
        if path.exists() and not path.read_text().endswith("}"):
            path.unlink()


# ---- clones ----


def save_checkpoints_often(clone: Path) -> None:
    """Every 0.2 seconds instead of every 10, so that a short training has some to resume from."""
    path = clone / "src" / "dcgan" / "gan" / "training_loop.py"
    source = path.read_text()
    for often in ("CHECKPOINT_INTERVAL_S = 0.2", "CHECKPOINT_TIME_FRACTION = 1.0"):
        name = often.split()[0]
        (line,) = [line for line in source.splitlines() if line.startswith(f"{name} =")]
        source = source.replace(line, often)
    path.write_text(source)
    run(clone, "git", "commit", "-qam", "frequent checkpoints")


def _copy(clone: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", clone, target], check=True)
    _copy_store(clone, target)
    return target


def _copy_store(clone: Path, target: Path) -> None:
    """The copy of the clone's store keeps its artifacts in `target`."""
    shutil.copy(clone / "mlflow.db", target)
    with sqlite3.connect(target / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(change, (f"{clone}/", f"{target}/"))
    database.close()


# ---- processes ----


def _start(clone: Path, command: tuple[str, ...]) -> subprocess.Popen:
    """Its output goes to a file, because orphans of a killed process would hold a pipe open."""
    with open(_log(clone), "w") as log:
        variables = {"PYTHONPATH": "src", "DCGAN_PUBLISH_EVERY_S": "0.5"}
        return subprocess.Popen(command, cwd=clone, env=environment() | variables, stdout=log, stderr=log)


def _log(clone: Path) -> Path:
    return clone.with_name(f"{clone.name}.log")


def _processes(clone: Path, words: tuple[str, ...]) -> list[psutil.Process]:
    """Living Python processes in this clone whose command line contains the words."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "cwd", "create_time"]):
        line = " ".join(process.info["cmdline"] or [])
        is_python = process.info["name"].startswith("python")
        if is_python and process.info["cwd"] == str(clone.resolve()) and all(word in line for word in words):
            found.append(process)
    return found


def _appearing(clone: Path, words: tuple[str, ...], main: subprocess.Popen) -> Iterator[psutil.Process]:
    """Each such process as it appears, until `main` ends; without orphans of an earlier command."""
    seen = set(_processes(clone, words))
    while main.poll() is None:
        for process in set(_processes(clone, words)) - seen:
            seen.add(process)
            yield process
        time.sleep(0.02)


def _lifetimes(clone: Path, command: tuple[str, ...]) -> dict[str, float]:
    """Run the command to its end, and measure how long each kind of process lives."""
    main, started = _start(clone, command), time.monotonic()
    first, last = {}, {}
    while main.poll() is None:
        for name, kind in KINDS.items():
            if _processes(clone, kind.words):
                first.setdefault(name, time.monotonic())
                last[name] = time.monotonic()
        time.sleep(0.05)
    assert main.returncode == 0, _log(clone).read_text()[-3000:]
    own = {"publish" if command == PUBLISH else "dvc": time.monotonic() - started}
    return {name: last[name] - first[name] for name in first} | own


# ---- what was logged and stored ----


def _logged_points(run_log: RunLog) -> Points:
    events = [event for event, _ in run_log.events() if event["event"] == "points"]
    return [(key, event["step"], float(value)) for event in events for key, value in event["values"].items()]


def _runs(clone: Path) -> list[tuple[str, str]]:
    """(id, status) of the active runs in the store."""
    return _query(clone, "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'")


def _stored_points(clone: Path, run_id: str) -> Points:
    return _query(clone, "SELECT key, step, value FROM metrics WHERE run_uuid = ?", run_id)


def _stored_images(clone: Path, run_id: str) -> Counter:
    """(series, step) of a run's images: their files are called `<series>+step+<step>+timestamp+...`."""
    names = [path.name.split("+") for path in (clone / "mlartifacts" / run_id / "artifacts/images").glob("*.png")]
    return Counter((name[0], int(name[2])) for name in names)


def _query(clone: Path, query: str, *values: str) -> list[tuple]:
    database = sqlite3.connect(clone / "mlflow.db")
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()
