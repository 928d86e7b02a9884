"""Sending run logs to a real SQLite store, and processes that do it at the same time or are killed."""

import random
import re
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from PIL import Image
from tracking.helpers import (
    check_complete,
    find_run,
    history,
    make_run_log,
    start_senders,
    write_image,
    write_workspace,
)

from dcgan.support.errors import UserError
from dcgan.tracking.locations import store_uri
from dcgan.tracking.mlflow_store import STORE_ERRORS, Store
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import unsent_run_logs


def test_sending_twice_adds_nothing(root, store, tmp_path):
    run_log = make_run_log(root, write_workspace(tmp_path / "w"))
    run_log.finish("FINISHED")
    assert store.publish(run_log) == run_log.size()
    before = find_run(store, run_log)
    assert store.publish(run_log) == 0
    for sent in run_log.folder.glob("sent-*.json"):
        sent.unlink()  # saved progress is only a shortcut
    assert store.publish(run_log) == run_log.size()
    check_complete(store, run_log)
    after = find_run(store, run_log)
    assert after.data.to_dictionary() == before.data.to_dictionary()
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    assert after.data.tags["mlflow.note.content"] == "A note."
    assert after.info.artifact_uri.startswith((root / "mlartifacts").as_uri())
    artifact = store.client.download_artifacts(after.info.run_id, "models/generator.safetensors", str(tmp_path))
    assert Path(artifact).read_bytes() == b"weights"


def test_images_are_named_as_mlflow_names_its_own(root, store, tmp_path):
    run_log = RunLog.create(root, "run")
    write_image(tmp_path / "grid.png", 7)
    run_log.log_image("a/b", tmp_path / "grid.png", 64)
    store.publish(run_log)
    run_id = find_run(store, run_log).info.run_id
    store.client.log_image(run_id, Image.new("L", (9, 9)), key="a/b", step=128)
    assert store.images(run_id) == {("image", "a/b", 64), ("image", "a/b", 128)}
    paths = [item.path for item in store.client.list_artifacts(run_id, "images")]
    ours, theirs = [
        sorted(re.sub(r"[0-9a-f-]{36}|\d{5,}", "*", path) for path in paths if step in path)
        for step in ("+64+", "+128+")
    ]
    assert ours == [name.replace("+128+", "+64+") for name in theirs]
    thumbnail = next(path for path in paths if "+64+" in path and ".webp" in path)
    with Image.open(store.client.download_artifacts(run_id, thumbnail, str(tmp_path))) as image:
        assert image.size == (192, 256)  # of 300 x 400


def test_numbers_that_are_not_finite_arrive(root, store):
    run_log = RunLog.create(root, "diverged")
    for step in range(2):
        run_log.log_points({"a": float("nan"), "b": float("-inf"), "c": 1.0}, step)
    store.publish(run_log)
    next(run_log.folder.glob("sent-*.json")).unlink()
    store.publish(run_log)
    run = find_run(store, run_log)
    assert [str(value) for _, value, _ in history(store, run, "a")] == ["nan", "nan"]
    assert [value < -1e308 for _, value, _ in history(store, run, "b")] == [True, True]  # MLflow's infinity


def test_status_follows_a_resumed_run(root, store):
    run_log = RunLog.create(root, "run")
    for status in ("KILLED", "FAILED", "FINISHED"):
        run_log.resume()
        store.publish(run_log)
        assert find_run(store, run_log).info.status == "RUNNING"
        run_log.finish(status)
        store.publish(run_log)
        assert find_run(store, run_log).info.status == status


def test_a_run_deleted_in_the_store_stays_deleted_and_a_new_store_gets_everything(root, store, empty_database):
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    store.publish(run_log)
    store.client.delete_run(find_run(store, run_log).info.run_id)
    run_log.log_points({"a": 2.0}, 2)
    assert store.publish(run_log) == 0
    assert unsent_run_logs(root, store.uri) == []
    assert find_run(store, run_log).info.lifecycle_stage == "deleted"
    shutil.copy(empty_database, root / "other.db")
    new_store = Store(f"sqlite:///{root}/other.db")
    assert new_store.publish(run_log) == run_log.size()
    assert [point[0] for point in history(new_store, find_run(new_store, run_log), "a")] == [1, 2]


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.faults)])
def test_kill_9_while_sending_loses_and_duplicates_nothing(root, store, tmp_path, rounds):
    run_log = make_run_log(root, write_workspace(tmp_path / "w"), steps=4000)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(rounds):
        (sender,) = start_senders(root, store.uri, 1)
        time.sleep(chance.uniform(0, 1.5))
        sender.kill()
        sender.join()
        if chance.random() < 0.5:
            for sent in run_log.folder.glob("sent-*.json"):
                sent.unlink()
    store.publish(run_log)
    check_complete(store, run_log, steps=4000)


def test_four_processes_at_once_create_a_new_store_and_send_to_it(root, tmp_path):
    uri = store_uri(root)
    workspace = write_workspace(tmp_path / "w")
    run_logs = [make_run_log(root, workspace, steps=50) for _ in range(4)]  # each process sends all four
    for sender in start_senders(root, uri, 4):
        sender.join(60)
        assert sender.exitcode == 0
    assert sqlite3.connect(root / "mlflow.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = Store(uri)
    for run_log in run_logs:
        check_complete(store, run_log, steps=50)


def test_a_run_log_sent_by_several_processes_at_once_is_one_run(root, store, tmp_path):
    run_log = make_run_log(root, write_workspace(tmp_path / "w"))
    for sender in start_senders(root, store.uri, 3, is_connected=True):
        sender.join(60)
        assert sender.exitcode == 0
    check_complete(store, run_log)


def test_a_deleted_experiment_is_reported_with_how_to_restore_it(store):
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match="mlflow experiments restore"):
        Store(store.uri)


def test_an_address_with_an_unknown_scheme_is_a_store_error():
    with pytest.raises(STORE_ERRORS):
        Store("gopher://example.org")
