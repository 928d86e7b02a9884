"""Sweeps on nodes that die, are cut off, or lose their driver. Needs root and Ray."""

import hashlib
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from clones import change_params, make_clone, run
from cluster.nodes import ADDRESS, VARIABLES, Cluster, can_make_nodes, cluster
from cluster.toys import TRAINER, add_remotes, dcgan, experiments, make_toy, start, trained, wait_for
from faults import save_checkpoints_often

from dcgan.cluster import grid

pytestmark = [pytest.mark.faults, pytest.mark.skipif(not can_make_nodes(), reason="needs root, unshare and Ray")]
STEPS = 150  # of the toy, 0.2 s each
LIMIT_S = 1800


@dataclass(frozen=True)
class Project:
    folder: Path
    command: tuple[str, ...]
    outputs: dict[str, set]  # (path, MD5) of what each experiment must have made
    points: Counter  # and logged


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Project:
    """Trains for half a minute, in steps that do nothing; all else is real."""
    folder = make_toy(tmp_path_factory.mktemp("toy") / "clone", TRAINER)
    add_remotes(folder)
    options = ("train.seed=1..2", f"train.images={STEPS}")
    commit = run(folder, "git", "rev-parse", "HEAD").stdout.strip()
    outputs, points = {}, Counter()
    for seed, experiment in enumerate(grid.experiments("sweep", options, commit), start=1):
        model, values = trained(seed, STEPS)
        outputs[experiment.name] = {("model", hashlib.md5(model.encode()).hexdigest())}
        points.update((experiment.name, "train/loss_g", step, value) for step, value in enumerate(values, start=1))
        points[experiment.name, "eval/relative_fid", 0, STEPS / 10] = 1
    return Project(folder, ("sweep", *(part for option in options for part in ("-S", option))), outputs, points)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, mnist_dir) -> Project:
    """This project's pipeline with small networks, long enough for a checkpoint to be reported."""
    folder = tmp_path_factory.mktemp("pipeline") / "clone"
    folder.mkdir()
    make_clone(folder, mnist_dir)
    change_params(folder, {"train": {"images": 32_000}})
    save_checkpoints_often(folder)
    add_remotes(folder)
    copy = folder.with_name("undisturbed")
    subprocess.run(["cp", "-r", folder, copy], check=True)
    command = ("sweep", "-S", "train.seed=1..2")
    code, _, err = dcgan(copy, *command, limit=LIMIT_S)
    assert code == 0, err
    return Project(folder, command, outputs(copy), points(copy))


def outputs(folder: Path) -> dict[str, set]:
    """(path, MD5) of the outputs of each experiment."""
    found = {}
    for name, commit in experiments(folder).items():
        stages = yaml.safe_load(run(folder, "git", "show", f"{commit}:dvc.lock").stdout)["stages"]
        found[name] = {(out["path"], out["md5"]) for stage in stages.values() for out in stage["outs"]}
    return found


def points(folder: Path) -> Counter:
    """(name of the run, series, step, value) of everything in the store of a folder, except the sweep's own run."""
    query = (
        "SELECT runs.name, key, step, value FROM metrics JOIN runs USING (run_uuid) "
        "WHERE runs.lifecycle_stage = 'active'"
    )
    with sqlite3.connect(folder / "mlflow.db") as store:
        return Counter(store.execute(query).fetchall())


def runs(folder: Path) -> list[tuple[str, str, bool]]:
    """(name, status, has a parent) of the runs in the store of a folder."""
    query = (
        "SELECT runs.name, status, tags.value IS NOT NULL FROM runs LEFT JOIN tags "
        "ON runs.run_uuid = tags.run_uuid AND tags.key = 'mlflow.parentRunId' WHERE lifecycle_stage = 'active'"
    )
    with sqlite3.connect(folder / "mlflow.db") as store:
        return sorted((name, status, bool(child)) for name, status, child in store.execute(query))


def copy_of(project: Project, name: str) -> Path:
    """With remotes of its own: nothing is there yet."""
    folder = project.folder.parent / name / "clone"
    folder.parent.mkdir()
    subprocess.run(["cp", "-r", project.folder, folder], check=True)
    run(folder, "git", "remote", "remove", "origin")
    bare = folder.with_suffix(".git")
    run(folder, "git", "clone", "-q", "--bare", str(folder), str(bare))
    run(folder, "git", "remote", "add", "origin", str(bare))
    return folder


def start_until_both_train(project: Project, folder: Path) -> subprocess.Popen:
    """A sweep on the cluster, once the driver has a checkpoint of each training."""
    process = start(folder, *project.command, "--on", ADDRESS, **VARIABLES)
    wait_for(
        lambda: len({path.parent for path in folder.glob(".dcgan/sweep/*/runs/*/checkpoint-*[1-9]*")}) == 2, LIMIT_S
    )
    assert process.poll() is None
    return process


def check(project: Project, folder: Path, started: float) -> None:
    made, found, statuses = outputs(folder), points(folder), runs(folder)
    lost, doubled = project.points - found, found - project.points
    print(
        f"{folder.parent.name}: {len(made)} runs in {time.monotonic() - started:.0f} s, {len(statuses)} MLflow runs, "
        f"{sum(found.values()):,} points, {sum(lost.values())} lost, {sum(doubled.values())} doubled"
    )
    assert made.keys() == project.outputs.keys()
    assert all(expected <= made[name] for name, expected in project.outputs.items())
    assert not lost and not doubled
    assert len(statuses) == 3 and {status for _, status, _ in statuses} == {"FINISHED"}
    assert sorted(child for _, _, child in statuses) == [False, True, True]


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return err


@pytest.fixture
def nodes():
    # Not pytest's folder: a socket's path has at most 107 bytes
    with tempfile.TemporaryDirectory(prefix="ray") as folder, cluster(Path(folder), 2) as made:
        yield made


@pytest.mark.parametrize("kind", ["toy", "pipeline"])
def test_a_node_is_killed_in_mid_training(kind, request, nodes: Cluster):
    project = request.getfixturevalue(kind)
    folder, started = copy_of(project, "killed"), time.monotonic()
    process = start_until_both_train(project, folder)
    nodes.nodes[0].kill()
    err = finish(process)
    assert err.count("lost (") == 1
    check(project, folder, started)


def test_a_node_is_cut_off_in_mid_training_and_comes_back(toy, nodes: Cluster):
    folder, started = copy_of(toy, "cut-off"), time.monotonic()
    process = start_until_both_train(toy, folder)
    nodes.nodes[0].cut_off()
    wait_for(lambda: len(experiments(folder)) == 1, LIMIT_S)
    nodes.nodes[0].reconnect()
    finish(process)
    check(toy, folder, started)


def test_the_driver_is_killed_and_the_same_command_goes_on(toy, nodes: Cluster):
    folder, started = copy_of(toy, "driver"), time.monotonic()
    process = start_until_both_train(toy, folder)
    process.kill()
    process.communicate(timeout=60)
    code, _, err = dcgan(folder, *toy.command, "--on", ADDRESS, limit=LIMIT_S, **VARIABLES)
    assert code == 0, err
    check(toy, folder, started)
