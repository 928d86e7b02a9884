"""`dcgan clean`: shows, then removes, what is dead or sent; leaves alone what is alive, needed or another version's."""

import argparse
import os
from pathlib import Path

import pytest
from tracking.helpers import find_run

from dcgan.commands import clean
from dcgan.support.lock import hold
from dcgan.tracking.run_log import RunLog


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_clean(capsys, yes: bool) -> str:
    clean.run(argparse.Namespace(yes=yes))
    return capsys.readouterr().out


def make_old(run_log: RunLog) -> None:
    os.utime(run_log.folder / "events.jsonl", (1, 1))


def finished_run_log(root: Path, name: str, parent: str | None = None) -> RunLog:
    run_log = RunLog.create(root, name, parent)
    run_log.finish("FINISHED")
    return run_log


def test_it_shows_then_removes_what_is_dead_and_keeps_what_is_alive(root, store, capsys):
    dead = RunLog.create(root, "dead")
    store.publish(dead)
    dead.__dict__.pop("_alive").close()  # as if its process had ended
    living = RunLog.create(root, "living")
    store.publish(living)
    orphan = store.client.create_run(store.experiment_id, tags={"dcgan.run_log": "gone"})
    old = finished_run_log(root, "old")
    store.publish(old)
    make_old(old)
    for name in ("idle", "busy"):
        (root / ".dcgan/runs" / name).mkdir(parents=True)
        (root / ".dcgan/runs" / name / "checkpoint").write_bytes(b"x" * 1000)
    with hold(root / ".dcgan/locks/busy", "training"):
        shown = run_clean(capsys, yes=False)
        assert "nothing was changed" in shown and "living" not in shown and "busy" not in shown
        assert RunLog.open(root, dead.id).status == "RUNNING" and old.folder.exists()
        assert [word in shown for word in (dead.id, orphan.info.run_id, "idle", old.id)] == [True] * 4
        run_clean(capsys, yes=True)
        assert run_clean(capsys, yes=True) == "nothing to clean\n"
    assert find_run(store, dead).info.status == "KILLED"
    assert store.client.get_run(orphan.info.run_id).info.status == "KILLED"
    assert find_run(store, living).info.status == "RUNNING"
    assert [path.name for path in (root / ".dcgan/runs").iterdir()] == ["busy"]
    assert not old.folder.exists()


def test_an_old_run_log_that_is_unsent_or_needed_by_a_child_is_kept(root, store, capsys):
    unsent = finished_run_log(root, "unsent")
    parent = finished_run_log(root, "parent")
    child = finished_run_log(root, "child", parent.id)
    store.publish(child)
    for run_log in (unsent, parent):
        make_old(run_log)
    assert run_clean(capsys, yes=False) == "nothing to clean\n"
    make_old(child)
    shown = run_clean(capsys, yes=False)
    assert child.id in shown and unsent.id not in shown


def test_local_state_and_runs_of_former_versions_are_left_alone(root, store, capsys):
    former = root / ".dcgan/records/20250101-000000-abcdef/events.jsonl"
    former.parent.mkdir(parents=True)
    former.write_text('{"event": "run", "name": "former", "time": 1, "parent": null}\n')
    run = store.client.create_run(store.experiment_id, tags={"dcgan.record": former.parent.name})
    assert run_clean(capsys, yes=True) == "nothing to clean\n"
    assert former.exists()
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


def test_without_a_store_nothing_is_created(root, capsys):
    assert run_clean(capsys, yes=True) == "nothing to clean\n"
    assert not (root / "mlflow.db").exists()
