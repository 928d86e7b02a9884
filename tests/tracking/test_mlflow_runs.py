"""One run per run log: twins are found and closed, whoever made them."""

import sqlite3
import time
from contextlib import closing

import pytest
from mlflow.entities import Run
from tracking.helpers import (
    IMAGE_STEPS,
    PARAMS,
    SERIES,
    check_restored_run,
    find_run,
    history,
    make_run_log,
    publish_at_once,
    write_workspace,
)

from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking import mlflow_runs
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Sent, Unanswered, unsettled_run_logs, write_sent
from dcgan.tracking.stage_outputs import log_evaluation, log_training


def make_twin(store: Store, run_log: RunLog) -> str:
    """As a request does that the server carried out late; returns the run's id."""
    tags = {"dcgan.run_log": run_log.id}
    return store.client.create_run(store.experiment_id, run_log.started, tags, run_log.name).info.run_id


def active_runs(store: Store) -> list[Run]:
    return [run for run in store.runs.search("") if run.info.lifecycle_stage == "active"]


def run_id(store: Store, run_log: RunLog) -> str:
    """Of the run that has the run log's points."""
    (run,) = [run for run in store.runs.search(f"tags.`dcgan.run_log` = '{run_log.id}'") if run.data.metrics]
    return run.info.run_id


@pytest.mark.parametrize("is_twin_first", [True, False])
def test_a_twin_is_closed_by_the_next_send_and_the_run_with_the_points_kept(root, store, is_twin_first):
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    twins = [make_twin(store, run_log) for _ in range(3)] if is_twin_first else []
    store.publish(run_log)
    kept = run_id(store, run_log)
    twins += [] if is_twin_first else [make_twin(store, run_log) for _ in range(3)]
    run_log.log_points({"a": 2.0}, 2)
    store.publish(run_log)
    (run,) = active_runs(store)
    assert run.info.run_id == kept
    assert [point[:2] for point in history(store, run, "a")] == [(1, 1.0), (2, 2.0)]
    for twin in set(twins) - {kept}:
        closed = store.client.get_run(twin)
        assert (closed.info.status, closed.info.lifecycle_stage) == ("KILLED", "deleted")
        assert closed.data.tags["dcgan.twin_of"] == kept and closed.info.end_time


def test_a_twin_that_must_not_be_deleted_is_closed_and_tagged(root, store):
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.executescript(
            "CREATE TRIGGER no_deletion BEFORE UPDATE OF lifecycle_stage ON runs "
            "WHEN NEW.lifecycle_stage = 'deleted' BEGIN SELECT RAISE(ABORT, 'not permitted'); END"
        )
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    store.publish(run_log)
    kept, twin = run_id(store, run_log), make_twin(store, run_log)
    for _ in range(2):
        store.publish(run_log)
        closed = store.client.get_run(twin)
        assert (closed.info.status, closed.info.lifecycle_stage) == ("KILLED", "active")
        assert closed.data.tags["dcgan.twin_of"] == kept
        assert store.client.get_run(kept).info.status == "RUNNING"


def test_everything_is_sent_to_the_run_that_is_kept(root, store, tmp_path):
    run_log = make_run_log(root, write_workspace(tmp_path / "w"))
    store.publish(run_log)
    first = find_run(store, run_log).info.run_id
    store.client.set_tag(first, "dcgan.twin_of", "another")  # another process decided otherwise
    store.client.delete_run(first)
    assert store.publish(run_log) == run_log.size()
    (run,) = active_runs(store)
    for key in SERIES:
        assert len(history(store, run, key)) == 200
    assert store.images(run.info.run_id) == {("image", "progress/percent", step) for step in IMAGE_STEPS}


def test_a_run_closed_while_it_is_being_sent_to_is_left_for_the_one_that_is_kept(root, store, monkeypatch):
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    log_batch = store.client.log_batch

    def log_batch_too_late(run_id: str, **values) -> None:
        monkeypatch.setattr(store.client, "log_batch", log_batch)
        kept = make_twin(store, run_log)
        store.client.set_tag(run_id, "dcgan.twin_of", kept)
        store.client.delete_run(run_id)
        log_batch(run_id, **values)

    monkeypatch.setattr(store.client, "log_batch", log_batch_too_late)
    store.publish(run_log)
    (run,) = active_runs(store)
    assert [point[:2] for point in history(store, run, "a")] == [(1, 1.0)]


# ---- several clones ----


@pytest.mark.parametrize(
    ("rounds", "clones"),
    [(1, 2), pytest.param(30, 2, marks=pytest.mark.faults), pytest.param(15, 4, marks=pytest.mark.faults)],
)
def test_clones_that_publish_the_same_model_at_once_make_one_run(store, tmp_path, rounds, clones):
    """In each round another model, published by all clones at the same moment, and once more one after the other."""
    twins = 0
    for round_ in range(rounds):
        folders = [write_workspace(tmp_path / f"{round_}-{clone}", b"model %d" % round_) for clone in range(clones)]
        publish_at_once(folders, store.uri)
        runs = check_restored_run(store, folders[0])
        for folder in folders:
            store.publish(log_restored(PIPELINE, folder, folder))
        assert check_restored_run(store, folders[0]) == runs
        twins += runs - 1
    print(f"{rounds} rounds with {clones} clones: one run each; {twins} twins made and closed")


def test_a_restored_model_gives_way_to_its_training(root, store, tmp_path):
    """The clone that trains has not sent its run yet when another one publishes the model."""
    other = write_workspace(tmp_path / "other")
    store.publish(log_restored(PIPELINE, other, other))
    workspace = write_workspace(tmp_path / "workspace")
    # The same bytes, twice
    trainings = [RunLog.create(root, f"training {number}", started=1000 + number) for number in range(2)]
    for training in trainings:
        log_training(PIPELINE, training, workspace, PARAMS)
        log_evaluation(PIPELINE, root, workspace, PARAMS)
        training.finish("FINISHED")
        store.publish(training)
    store.publish(log_restored(PIPELINE, other, other))
    assert {run.info.run_name for run in active_runs(store)} == {"training 0", "training 1"}
    (restored,) = [run for run in store.runs.search("") if run.info.lifecycle_stage == "deleted"]
    assert restored.data.tags["dcgan.twin_of"] == find_run(store, trainings[0]).info.run_id


# ---- requests to a server that were not answered; whether it carries them out is not known ----


def test_a_run_that_was_requested_is_waited_for_instead_of_made_again(root, store):
    run_log = RunLog.create(root, "run")
    write_sent(run_log.folder, store.uri, Sent(requests=1, requested=time.time()))
    for wait in (0, 0.1):
        with pytest.raises(Unanswered, match=run_log.id):
            store.publish(run_log, wait)
    assert store.runs.search("") == []
    late = make_twin(store, run_log)
    assert store.publish(run_log) > 0
    assert find_run(store, run_log).info.run_id == late
    assert unsettled_run_logs(root, store.uri) == []


def test_a_request_that_never_becomes_a_run_is_repeated_and_watched(root, store):
    run_log = RunLog.create(root, "run")
    write_sent(run_log.folder, store.uri, Sent(requests=2, requested=time.time() - mlflow_runs.CREATE_S))
    store.publish(run_log)
    assert unsettled_run_logs(root, store.uri) == [run_log.folder]  # one more may come: every stage looks for it
    make_twin(store, run_log)
    store.publish(run_log)
    assert len(active_runs(store)) == 1
    assert unsettled_run_logs(root, store.uri) == []


def test_a_request_noted_before_the_clock_was_set_back_is_repeated_all_the_same(root, store):
    run_log = RunLog.create(root, "run")
    write_sent(run_log.folder, store.uri, Sent(requests=1, requested=time.time() + 86_400))
    assert store.publish(run_log, wait=0) > 0
    assert unsettled_run_logs(root, store.uri) == []


def test_an_unanswered_request_is_forgotten_after_an_hour(root):
    run_log = RunLog.create(root, "run")
    for age, unsettled in ((3500, [run_log.folder]), (3700, [])):
        write_sent(run_log.folder, "http://store", Sent(requests=1, requested=time.time() - age))
        assert unsettled_run_logs(root, "http://store") == unsettled
