"""Sweeps of the real pipeline on nodes that die, are cut off, or lose their driver. Needs root and Ray."""

import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from clones import change_params, make_clone, run
from cluster.nodes import ADDRESS, VARIABLES, Cluster, can_make_nodes, cluster
from cluster.toys import add_remotes, dcgan, experiments, start, wait_for
from faults import save_checkpoints_often

pytestmark = [pytest.mark.faults, pytest.mark.skipif(not can_make_nodes(), reason="needs root, unshare and Ray")]
SWEEP = ("sweep", "-S", "train.seed=1..2")
TRAINING = {"train": {"images": 32_000}}  # long enough for a checkpoint to be reported
LIMIT_S = 1800


@pytest.fixture(scope="module")
def project(tmp_path_factory, mnist_dir) -> Path:
    folder = tmp_path_factory.mktemp("project") / "clone"
    folder.mkdir()
    make_clone(folder, mnist_dir)
    change_params(folder, TRAINING)
    save_checkpoints_often(folder)
    add_remotes(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(project) -> dict[str, str]:
    """What a sweep on this machine makes: dvc.lock, with the hashes of all outputs, by experiment; points."""
    copy = project.with_name("undisturbed")
    subprocess.run(["cp", "-r", project, copy], check=True)
    code, _, err = dcgan(copy, *SWEEP, limit=LIMIT_S)
    assert code == 0, err
    made = locks(copy)
    assert len(made) == 2
    return made | {"points": points(copy)}


def locks(folder: Path) -> dict[str, str]:
    return {name: run(folder, "git", "show", f"{made}:dvc.lock").stdout for name, made in experiments(folder).items()}


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


def copy_of(project: Path, name: str) -> Path:
    """With remotes of its own: nothing is there yet."""
    folder = project.parent / name / "clone"
    folder.parent.mkdir()
    subprocess.run(["cp", "-r", project, folder], check=True)
    run(folder, "git", "remote", "remove", "origin")
    bare = folder.with_suffix(".git")
    run(folder, "git", "clone", "-q", "--bare", str(folder), str(bare))
    run(folder, "git", "remote", "add", "origin", str(bare))
    return folder


def start_until_both_train(folder: Path) -> subprocess.Popen:
    """A sweep on the cluster, once the driver has a checkpoint of each training."""
    process = start(folder, *SWEEP, "--on", ADDRESS, **VARIABLES)
    wait_for(lambda: len(list(folder.glob(".dcgan/sweep/*/runs/*/checkpoint-*[1-9]*"))) >= 2, LIMIT_S)
    assert process.poll() is None
    return process


def check(folder: Path, undisturbed: dict, started: float) -> None:
    expected = {name: text for name, text in undisturbed.items() if name != "points"}
    made = locks(folder)
    found = points(folder)
    lost, doubled = undisturbed["points"] - found, found - undisturbed["points"]
    print(
        f"{folder.parent.name}: {len(made)} runs in {time.monotonic() - started:.0f} s, "
        f"{sum(found.values()):,} points, {sum(lost.values())} lost, {sum(doubled.values())} doubled"
    )
    assert made == expected
    assert not lost and not doubled
    statuses = runs(folder)
    assert len(statuses) == 3 and {status for _, status, _ in statuses} == {"FINISHED"}
    assert sorted(child for _, _, child in statuses) == [False, True, True]


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return err


@pytest.fixture
def nodes(tmp_path):
    with cluster(tmp_path, 2) as made:
        yield made


def test_a_node_is_killed_in_mid_training(project, undisturbed, nodes: Cluster):
    folder, started = copy_of(project, "killed"), time.monotonic()
    process = start_until_both_train(folder)
    nodes.nodes[0].kill()
    err = finish(process)
    assert err.count("lost (") == 1
    check(folder, undisturbed, started)
    assert list((folder / ".dcgan" / "sweep").glob("*.log")) == []


def test_a_node_is_cut_off_in_mid_training_and_comes_back(project, undisturbed, nodes: Cluster):
    folder, started = copy_of(project, "cut-off"), time.monotonic()
    process = start_until_both_train(folder)
    nodes.nodes[0].cut_off()
    wait_for(lambda: len(experiments(folder)) == 1, LIMIT_S)
    nodes.nodes[0].reconnect()
    finish(process)
    check(folder, undisturbed, started)


def test_the_driver_is_killed_and_the_same_command_goes_on(project, undisturbed, nodes: Cluster):
    folder, started = copy_of(project, "driver"), time.monotonic()
    process = start_until_both_train(folder)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    code, _, err = dcgan(folder, *SWEEP, "--on", ADDRESS, limit=LIMIT_S, **VARIABLES)
    assert code == 0, err
    check(folder, undisturbed, started)
