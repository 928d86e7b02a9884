"""`dcgan sweep` on this machine, as a user runs it, with real DVC experiments of a toy pipeline."""

import signal
import sqlite3

import pytest
from clones import run
from cluster.toys import dcgan, experiments, log, make_toy, start, wait_for

SWEEP = ("sweep", "-S", "train.seed=1..3", "-S", "train.images=6400")

TWO = ("sweep", "-S", "train.seed=1..2", "-S", "train.images=6400")


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path / "toy")


def switch(toy, name: str):
    """A file that makes a stage of the toy wait (hold-SEED) or fail (break-SEED)."""
    return toy.with_name(f"{toy.name}.log.{name}")


def starts(toy) -> list[str]:
    return sorted(seed for seed, what, _ in log(toy) if what == "start")


@pytest.mark.extended
def test_a_failed_run_costs_only_itself_and_the_same_command_makes_it_alone(toy):
    switch(toy, "break-2").touch()
    code, _, err = dcgan(toy, *TWO)
    last = err.splitlines()[-1]
    assert code == 2 and "1 of 2 run(s) failed" in last and "broken" in last and "same command again" in last
    assert len(experiments(toy)) == 1 and starts(toy) == ["1", "2"]

    switch(toy, "break-2").unlink()
    _, plan, _ = dcgan(toy, *TWO, "--plan")
    assert plan.count("done") == 1 and plan.count("to run") == 1
    code, out, err = dcgan(toy, *TWO)
    assert code == 0 and starts(toy) == ["1", "2", "2"]
    assert [line.split()[-1] for line in out.splitlines()] == ["2.100", "2.200"]
    assert "best relative_fid 2.100 (seed=1)" in err
    commits = experiments(toy)
    for name, commit in commits.items():  # each has its own outputs, and the workspace none
        seed = name.rpartition("-")[2]
        assert f"seed: {seed}" in run(toy, "git", "show", f"{commit}:dvc.lock").stdout
    assert run(toy, "git", "status", "--porcelain").stdout == "" and not (toy / "model").exists()
    assert not list((toy / ".dcgan" / "sweep").glob("clone-*"))
    with sqlite3.connect(toy / "mlflow.db") as store:  # one run for the sweep, through both calls
        runs = store.execute("SELECT name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
    assert [status for _, status in runs] == ["FINISHED"]


@pytest.mark.extended
def test_two_runs_are_made_at_once_and_ctrl_c_stops_both(toy):
    for seed in (1, 2):
        switch(toy, f"hold-{seed}").touch()
    process = start(toy, *SWEEP)
    wait_for(lambda: starts(toy) == ["1", "2"])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped by SIGINT" in err.splitlines()[-1]
    assert not experiments(toy) and not list((toy / ".dcgan" / "sweep").glob("clone-*"))


@pytest.mark.extended
def test_a_sweep_goes_on_after_its_process_was_killed(toy):
    switch(toy, "hold-3").touch()
    process = start(toy, *SWEEP)
    wait_for(lambda: len(experiments(toy)) == 2 and "3" in starts(toy))
    process.kill()
    process.communicate(timeout=60)
    switch(toy, "hold-3").unlink()
    code, _, err = dcgan(toy, *SWEEP)
    assert code == 0, err
    assert len(experiments(toy)) == 3 and starts(toy) == ["1", "2", "3", "3"]
    assert not list((toy / ".dcgan" / "sweep").glob("clone-*"))


def test_mistakes_are_reported_before_anything_runs(toy):
    (toy / "new.py").touch()
    code, _, err = dcgan(toy, *SWEEP)
    assert code == 2 and "uncommitted changes (new.py)" in err
    (toy / "new.py").unlink()
    code, _, err = dcgan(toy, "sweep", "-S", "train.sed=1..3")
    assert code == 2 and "unknown key train.sed; did you mean seed?" in err
    code, _, err = dcgan(toy, *SWEEP, "--on", "127.0.0.1:1")
    assert code == 2 and "error: `git remote` failed" in err and "git remote add origin URL" in err
    assert not log(toy)
