"""A team's store for real: many publishers while its parts are killed, a second person, users without permission."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clones import ROOT, change_params, environment, make_clone, results, run
from deploy.stores import PARTS, TeamStore, publish_all
from tracking.helpers import FORKS, IMAGE_STEPS, SERIES, STEPS, make_run_log, write_lock, write_workspace

from dcgan.tracking.run_log import RunLog

PUBLISH = (sys.executable, "-m", "dcgan.cli", "publish")
IMAGES = {("progress/percent", step) for step in IMAGE_STEPS}
POINTS = {(series, step, step / 7) for series in SERIES for step in range(STEPS)}
RESTORED_POINTS = 6  # losses and x at two steps, and scores; see `write_workspace`


@pytest.fixture(scope="module")
def store():
    with TeamStore() as store:
        yield store


# ---- many publishers ----


@dataclass
class Publishers:
    """Clones that publish at once: a run log each and, five by five, the same restored model. They are three users."""

    store: TeamStore
    folder: Path
    count: int
    run_logs: list[RunLog] = field(default_factory=list)
    attempts: Any = field(default_factory=lambda: FORKS.Value("i", 0))

    def __post_init__(self) -> None:
        self.experiment = self.folder.name
        users = [f"{name}-{self.experiment}" for name in ("ann", "ben", "cem")]
        self.access = [self.store.access(user, self.store.add_user(user)) for user in users]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", self.store.uri)
            patch.setenv("MLFLOW_EXPERIMENT_NAME", self.experiment)
            template = write_workspace(self.folder / "template")
            run_log = make_run_log(template, template)
        for number in range(self.count):
            clone = shutil.copytree(template, self.folder / f"{number}")
            (clone / "models/generator.safetensors").write_bytes(b"%s %d" % (self.experiment.encode(), number // 5))
            write_lock(clone)
            renamed = clone / ".dcgan/run_logs" / f"{run_log.id}-{number}"
            (clone / ".dcgan/run_logs" / run_log.id).rename(renamed)
            self.run_logs.append(RunLog(renamed))

    @contextmanager
    def publishing(self) -> Iterator[list]:
        """The processes, which have sent everything when the block has ended."""
        processes = []
        for number, run_log in enumerate(self.run_logs):
            own = {"MLFLOW_EXPERIMENT_NAME": self.experiment, "DVC_ROOT": str(run_log.root)}
            arguments = (run_log.root, self.access[number % 3] | own, self.attempts)
            processes.append(FORKS.Process(target=publish_all, args=arguments))
        try:
            for process in processes:
                process.start()
            yield processes
            for process in processes:
                process.join(1800)
                assert process.exitcode == 0
        finally:
            for process in processes:
                process.kill()

    def publish_under_kills(self, kills: int, pause: float, rng: random.Random) -> str:
        """A random part of the store is killed after at most `pause` seconds, again and again, each at least once.
        Checks what is stored; returns a sentence with counts."""
        killed: list[str] = []
        started = time.monotonic()
        with self.publishing() as processes:
            while len(killed) < kills and any(process.is_alive() for process in processes):
                time.sleep(rng.uniform(2, pause))
                killed.append(PARTS[len(killed)] if len(killed) < len(PARTS) else rng.choice(PARTS))
                self.store.kill(killed[-1])
        seconds, attempts = time.monotonic() - started, self.attempts.value
        with self.publishing():  # once more: nothing is new
            pass
        lost, doubled = check_stored(self.store, self.experiment, self.run_logs, models=-(-self.count // 5))
        assert (lost, doubled) == (0, 0)
        counts = ", ".join(f"{part} {killed.count(part)}" for part in PARTS)
        return (
            f"{self.count} publishers, kills: {counts}; {self.count * len(POINTS):,} points, {lost} lost, {doubled} "
            f"doubled; {attempts} attempts, {seconds:.0f} s"
        )


def check_stored(store: TeamStore, experiment: str, run_logs: list[RunLog], models: int) -> tuple[int, int]:
    """How many points were lost and doubled; everything else is asserted."""
    ((experiment_id,),) = store.query("SELECT experiment_id FROM experiments WHERE name = %s", experiment)
    of_log = "SELECT r.run_uuid FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'dcgan.run_log'"
    objects = store.objects("mlflow")
    lost = doubled = 0
    for run_log in run_logs:
        query = f"{of_log} WHERE t.value = %s AND r.lifecycle_stage = 'active' AND r.run_uuid NOT IN {TWINS}"
        ((run_id,),) = store.query(query, run_log.id)
        stored = store.query("SELECT key, step, value FROM metrics WHERE run_uuid = %s", run_id)
        lost += len(POINTS - set(stored))
        doubled += len(stored) - len(POINTS)
        files = [key.partition(f"/{run_id}/artifacts/")[2] for key in objects if f"/{run_id}/" in key]
        images = [name.split("+") for name in files if name.endswith(".png")]
        assert {(name[0].removeprefix("images/").replace("~", "/"), int(name[2])) for name in images} == IMAGES
        assert len(images) == len(IMAGES) and len(files) == 2 * len(IMAGES) + 1, files
        assert "models/generator.safetensors" in files
    every = "SELECT count(*) FROM runs WHERE experiment_id = %s AND lifecycle_stage = 'active' AND run_uuid NOT IN"
    ((runs,),) = store.query(f"{every} {TWINS}", experiment_id)
    assert runs == len(run_logs) + models  # a run for each restored model, however many clones have it
    return lost, doubled


TWINS = "(SELECT run_uuid FROM tags WHERE key = 'dcgan.twin_of')"


@pytest.mark.extended
def test_publishers_lose_nothing_when_each_part_is_killed(store, tmp_path):
    print(Publishers(store, tmp_path / "few", 6).publish_under_kills(3, 8, random.Random(1)))


@pytest.mark.faults
def test_50_publishers_lose_nothing_when_each_part_is_killed(store, tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    print(Publishers(store, tmp_path / "many", 50).publish_under_kills(3, 30, random.Random(seed)))


# ---- people ----


@pytest.mark.extended
def test_users_without_permission_get_one_line_and_keep_everything(store, tmp_path):
    clone = write_workspace(tmp_path / "clone")
    (clone / "params.yaml").touch()
    run(clone, "git", "init", "-q")
    known, unwelcome = store.add_user("known"), store.add_user("unwelcome")

    def try_as(user: str, password: str) -> subprocess.CompletedProcess:
        return run(clone, *PUBLISH, check=False, **store.access(user, password), MLFLOW_EXPERIMENT_NAME="closed")

    refused = try_as("known", "wrong")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "user or password not accepted" in refused.stderr and "wrong" not in refused.stderr
    assert try_as("known", known).returncode == 0
    ((experiment,),) = store.query("SELECT experiment_id FROM experiments WHERE name = 'closed'")
    store.forbid("unwelcome", str(experiment))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store.uri)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "closed")
        run_log = make_run_log(clone, clone)
    refused = try_as("unwelcome", unwelcome)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert "has no permission" in refused.stderr
    assert "1 of them with something new" in try_as("known", known).stdout
    assert check_stored(store, "closed", [run_log], models=1) == (0, 0)


@pytest.mark.extended
def test_a_second_person_pulls_and_publishes_and_retrains_nothing(store, mnist_dir, tmp_path):
    first = make_clone(tmp_path / "first", mnist_dir)
    change_params(first, {"train": {"images": 640}})
    s3 = store.secrets | {"AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_EXPERIMENT_NAME": "shared", "PYTHONPATH": "src"}
    ann, ben = (store.access(name, store.add_user(name)) for name in ("ann", "ben"))
    for command in (
        ("remote", "add", "-q", "--default", "team", "s3://dvc"),
        ("remote", "modify", "team", "endpointurl", store.s3),
        ("repro", "-q"),
        ("push", "-q"),
    ):
        run(first, "dvc", *command, **s3, **ann)
    run(first, *PUBLISH, **s3, **ann)
    run(first, "git", "add", "-A")
    run(first, "git", "commit", "-qm", "results")
    before = counts(store)
    assert before["runs"] == 1

    run(tmp_path, "git", "clone", "-q", str(first), "second")
    second = tmp_path / "second"
    run(second, "dvc", "pull", "-q", **s3, **ben)
    assert results(second) == results(first)
    published = run(second, *PUBLISH, **s3, **ben)
    assert "1 run log(s)" in published.stdout
    repeated = run(second, "dvc", "repro", **s3, **ben)
    assert "Data and pipelines are up to date." in repeated.stdout and "Running stage" not in repeated.stdout
    assert counts(store) == before


def counts(store: TeamStore) -> dict[str, int]:
    """What is stored of the experiment `shared`."""
    of_it = "SELECT run_uuid FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = 'shared'"
    of_it += " AND r.lifecycle_stage = 'active'"
    found = {
        "runs": store.query(f"SELECT count(*) FROM ({of_it}) x"),
        "points": store.query(f"SELECT count(*) FROM metrics WHERE run_uuid IN ({of_it})"),
        "versions": store.query(
            f"SELECT count(*) FROM model_versions WHERE current_stage != 'Deleted_Internal' AND run_id IN ({of_it})"
        ),
    }
    objects = sum("/artifacts/" in key for key in store.objects("mlflow"))
    return {name: rows[0][0] for name, rows in found.items()} | {"objects": objects}


# ---- starting it ----


def start_without(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "deploy" / "team_store.py"]
    clean = {key: value for key, value in environment().items() if not key.startswith(("AWS_", "POSTGRES", "TEAM_"))}
    return subprocess.run(
        command, cwd=tmp_path, env=clean | {"TEAM_FOLDER": str(tmp_path)} | variables, capture_output=True, text=True
    )


def test_missing_and_unusable_secrets_are_one_line(tmp_path):
    refused = start_without(tmp_path, POSTGRES_PASSWORD="x" * 12)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "not set: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, MLFLOW_AUTH_ADMIN_PASSWORD" in refused.stderr
    made = subprocess.run([ROOT / "deploy" / "new_secrets.sh"], capture_output=True, text=True, check=True)
    good = dict(line.split("=") for line in made.stdout.splitlines())
    refused = start_without(tmp_path, **good | {"POSTGRES_PASSWORD": "with a blank in it"})
    assert refused.returncode == 2 and "POSTGRES_PASSWORD must have 12 or more letters" in refused.stderr
    refused = start_without(tmp_path, **good, TEAM_PORT="80")
    assert refused.returncode == 2 and "TEAM_PORT is '80'; allowed are 1024 to 55000" in refused.stderr


@pytest.mark.extended
def test_nothing_listens_beyond_the_loopback(store):
    import psutil

    family = [psutil.Process(store.process.pid), *psutil.Process(store.process.pid).children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in family
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5 and set(listening) == {"127.0.0.1"}
