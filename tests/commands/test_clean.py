"""`dcgan clean`: shows, then removes, what is dead or sent; leaves alone what is alive, needed or another version's."""

import argparse
import os
import shutil
import time
from pathlib import Path

import pytest
from mlflow.entities import Run
from tracking.helpers import find_run

from dcgan.commands import clean
from dcgan.paths import GENERATOR
from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic
from dcgan.support.lock import hold
from dcgan.tracking.locations import clone_id
from dcgan.tracking.run_log import RunLog


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_clean(capsys, yes: bool) -> str:
    clean.run(argparse.Namespace(yes=yes))
    return capsys.readouterr().out


def make_old(run_log: RunLog, changed: float = 1) -> None:
    os.utime(run_log.folder / "events.jsonl", (changed, changed))


def finished_run_log(root: Path, name: str, parent: str | None = None) -> RunLog:
    run_log = RunLog.create(root, name, parent)
    run_log.finish("FINISHED")
    return run_log


def create_run(store, clone: Path, run_log_id: str) -> Run:
    return store.client.create_run(
        store.experiment_id, tags={"dcgan.run_log": run_log_id, "dcgan.clone": clone_id(clone)}
    )


def test_it_shows_then_removes_what_is_dead_and_keeps_what_is_alive(root, store, capsys):
    dead = RunLog.create(root, "dead")
    store.publish(dead)
    dead.__dict__.pop("_alive").close()  # as if its process had ended
    living = RunLog.create(root, "living")
    store.publish(living)
    orphan = create_run(store, root, "gone")
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


def test_a_run_log_is_kept_for_a_week(root, store, capsys):
    run_log = finished_run_log(root, "training")
    store.publish(run_log)
    make_old(run_log, time.time() - 6.9 * 24 * 60 * 60)
    assert run_clean(capsys, yes=False) == "nothing to clean\n"
    make_old(run_log, time.time() - 7.1 * 24 * 60 * 60)
    assert run_log.id in run_clean(capsys, yes=False)


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


def test_the_run_log_of_the_model_in_the_workspace_is_kept(root, store, workspace, capsys):
    write_atomic(workspace / GENERATOR, b"weights")
    run_log = RunLog.create(root, "training")
    run_log.log_tags({"model.sha256": sha256(workspace / GENERATOR)})
    run_log.finish("FINISHED")
    store.publish(run_log)
    make_old(run_log)
    assert run_clean(capsys, yes=False) == "nothing to clean\n"
    write_atomic(workspace / GENERATOR, b"weights of another training")
    assert run_log.id in run_clean(capsys, yes=False)


def test_a_run_log_that_cannot_be_sent_after_the_cleaning_is_an_error(root, store, workspace, capsys):
    dead = RunLog.create(root, "dead")
    (workspace / "a.txt").touch()
    dead.log_file(workspace / "a.txt")
    shutil.rmtree(dead.folder / "files")
    dead.__dict__.pop("_alive").close()  # as if its process had ended
    assert clean.run(argparse.Namespace(yes=True)) == UserError.exit_code
    assert "a.txt is missing or unreadable" in capsys.readouterr().err
    assert RunLog.open(root, dead.id).status == "KILLED"


def test_an_old_run_log_that_a_store_it_was_begun_for_lacks_is_kept(root, store, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://down")
    old = finished_run_log(root, "old")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    store.publish(old)
    make_old(old)
    assert run_clean(capsys, yes=False) == "nothing to clean\n"


def test_runs_of_other_clones_in_the_same_store_are_left_alone(root, store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    living = RunLog.create(tmp_path / "other clone", "living")
    store.publish(living)
    shutil.copytree(root, tmp_path / "copy")
    copied = create_run(store, tmp_path / "copy", "of a copy of this clone")
    foreign = store.client.create_run(store.experiment_id, tags={"dcgan.run_log": "without clone"})
    assert run_clean(capsys, yes=True) == "nothing to clean\n"
    assert find_run(store, living).info.status == "RUNNING"
    for run in (copied, foreign):
        assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_damaged_run_log_is_reported_and_its_run_left_alone(root, store, capsys):
    damaged = RunLog.create(root, "damaged")
    store.publish(damaged)
    run_id = find_run(store, damaged).info.run_id
    (damaged.folder / "events.jsonl").write_bytes(b"not JSON\n")
    assert clean.run(argparse.Namespace(yes=True)) == UserError.exit_code
    printed = capsys.readouterr()
    assert printed.out == "nothing to clean\n"
    assert printed.err.count("\n") == 1 and f"{damaged.id}/events.jsonl is damaged" in printed.err
    assert store.client.get_run(run_id).info.status == "RUNNING"


def test_a_run_marked_as_killed_says_why(root, store, capsys):
    dead = RunLog.create(root, "dead")
    dead.__dict__.pop("_alive").close()  # as if its process had ended
    run_clean(capsys, yes=True)
    assert find_run(store, dead).data.tags["end.reason"].startswith("its process died without reporting why")


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
