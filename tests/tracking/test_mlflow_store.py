"""Sending run logs to a real SQLite store, and processes that do it at the same time or are killed."""

import errno
import json
import os
import random
import re
import shutil
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from PIL import Image
from tracking.helpers import (
    FORKS,
    check_complete,
    find_run,
    history,
    make_run_log,
    publish_and_die,
    start_senders,
    write_image,
    write_workspace,
)

from dcgan.support.errors import UserError
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.locations import store_uri
from dcgan.tracking.mlflow_store import STORE_ERRORS, Store
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import read_sent, unsent_run_logs


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


def test_run_log_and_local_store_share_files(root, store, tmp_path, monkeypatch):
    """One file on the disk, which no process may write to; a copy where links are impossible."""
    write_image(tmp_path / "grid.png", 7)
    run_log = RunLog.create(root, "run")
    run_log.log_file(tmp_path / "grid.png", "samples")
    run_log.log_image("a/b", tmp_path / "grid.png", 64)
    store.publish(run_log)
    (kept,) = run_log.folder.glob("files/*/grid.png")
    artifacts = root / "mlartifacts" / find_run(store, run_log).info.run_id / "artifacts"
    (image,) = artifacts.glob("images/*.png")
    assert kept.samefile(artifacts / "samples/grid.png") and kept.samefile(image)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o444
    shutil.rmtree(artifacts)

    def refuse(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    next(run_log.folder.glob("sent-*.json")).unlink()
    store.publish(run_log)
    for path in (artifacts / "samples/grid.png", image):
        assert path.read_bytes() == kept.read_bytes() and not kept.samefile(path)


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


def test_status_and_end_time_follow_a_resumed_run(root, store):
    run_log = RunLog.create(root, "run")
    for status in ("KILLED", "FAILED", "FINISHED"):
        run_log.resume()
        store.publish(run_log)
        assert find_run(store, run_log).info.status == "RUNNING"
        run_log.finish(status)
        store.publish(run_log)
        info = find_run(store, run_log).info
        ends = [event["time"] for event, _ in run_log.events() if event["event"] == "status"]
        assert (info.status, info.end_time) == (status, ends[-1])


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


def test_the_experiment_can_be_named_and_each_gets_its_own_runs(root, store, monkeypatch):
    run_log = RunLog.create(root, "run")
    store.publish(run_log)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert unsent_run_logs(root, store.uri) == [run_log.folder]
    mine = Store(store.uri)
    assert mine.publish(run_log) == run_log.size()
    experiment = store.client.get_experiment_by_name("mine")
    assert find_run(mine, run_log).info.experiment_id == experiment.experiment_id != store.experiment_id
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert unsent_run_logs(root, store.uri) == []


def test_the_comparison_shows_headline_scores_images_and_differing_parameters(store, monkeypatch):
    """In the format of MLflow's own saved views, which docs/screenshots.py opens in a browser."""
    store.save_comparison(PIPELINE)
    saved = json.loads(store.client.get_experiment(store.experiment_id).tags["mlflow.sharedViewState.comparison"])
    state = json.loads(saved["state"])
    assert [section["uuid"] for section in state["compareRunSections"]][:2] == ["eval", "progress"]
    charts = state["compareRunCharts"]
    assert {chart["metricSectionId"] for chart in charts} < {section["uuid"] for section in state["compareRunSections"]}
    assert [chart["metricKey"] for chart in charts[:3]] == ["eval/relative_fid", "eval/recall", "eval/cas"]
    (images,) = [chart for chart in charts if chart["type"] == "IMAGE"]
    assert (images["imageKeys"], images["step"], images["showRunParams"]) == (["progress/percent"], 100, False)
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    monkeypatch.setattr(store.client, "set_experiment_tag", None)  # a call would raise, as for who may only read
    store.save_comparison(PIPELINE)


@pytest.mark.parametrize("slices", [1, 2, 4])
def test_a_kill_between_two_slices_loses_and_duplicates_nothing(root, store, tmp_path, slices):
    """Progress is saved after each slice; the process is killed right after some of them."""
    run_log = make_run_log(root, write_workspace(tmp_path / "w"), steps=500)
    sender = FORKS.Process(target=publish_and_die, args=(root, run_log.id, store.uri, slices))
    sender.start()
    sender.join(60)
    assert sender.exitcode == -9
    assert 0 < read_sent(run_log.folder, store.uri).size < run_log.size()
    assert unsent_run_logs(root, store.uri) == [run_log.folder]
    store.publish(run_log)
    check_complete(store, run_log, steps=500)


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.faults)])
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


def test_a_damaged_or_missing_parent_does_not_stop_its_children(root, store, capsys):
    parent = RunLog.create(root, "training")
    children = [RunLog.create(root, f"child {number}", parent.id) for number in range(2)]
    (parent.folder / "events.jsonl").write_bytes(b"damaged\n")
    store.publish(children[0])
    shutil.move(parent.folder, root / "moved away")
    store.publish(children[1])
    for child in children:
        assert "mlflow.parentRunId" not in find_run(store, child).data.tags
        assert store.publish(child) == 0
    printed = capsys.readouterr().err
    assert printed.count("\n") == 2 and printed.count(f"run log {parent.id} is gone or damaged") == 2


def test_parents_in_a_circle_do_not_stop_sending(root, store):
    """They can only come from run logs that were edited by hand."""
    for name, parent in (("one", "two"), ("two", "one"), ("self", "self")):
        RunLog.create(root, name, parent, name)
    for run_log in RunLog.all(root):
        store.publish(run_log)
        assert find_run(store, run_log).info.run_name == run_log.name


def test_a_restored_model_whose_logging_was_killed_at_once_does_not_stop_sending(root, store):
    run_log = RunLog.create(root, "restored", run_log_id="restored-0123")  # without the model's hash
    store.publish(run_log)
    assert find_run(store, run_log).info.status == "RUNNING"


def test_a_child_belongs_to_the_run_of_its_parent_even_if_the_run_log_is_gone_or_comes_later(root, store, capsys):
    parent = RunLog.create(root, "training")
    first = RunLog.create(root, "before", parent.id)
    store.publish(first)
    shutil.move(parent.folder, root / "moved away")
    second = RunLog.create(root, "after", parent.id)
    store.publish(second)
    parents = {find_run(store, child).data.tags["mlflow.parentRunId"] for child in (first, second)}
    assert parents == {find_run(store, parent).info.run_id}
    orphan = RunLog.create(root, "orphan", "moved here later")
    store.publish(orphan)
    assert "is sent without it" in capsys.readouterr().err
    RunLog.create(root, "late", run_log_id="moved here later")
    store.publish(orphan)
    late = find_run(store, RunLog.open(root, "moved here later"))
    assert find_run(store, orphan).data.tags["mlflow.parentRunId"] == late.info.run_id


def test_a_run_log_copied_here_by_hand_sends_no_other_files(root, store, tmp_path):
    (tmp_path / "private").write_bytes(b"secret")
    run_log = RunLog.create(root, "copied")
    with open(run_log.folder / "events.jsonl", "a") as stream:
        for name in (f"{tmp_path}/private", "../../../../private"):
            stream.write(json.dumps({"event": "file", "folder": "", "file": name}) + "\n")
            stream.write(json.dumps({"event": "image", "key": "a", "step": 1, "time": 1, "file": name}) + "\n")
    with pytest.raises(UserError, match=r"names the file '.*private'; only files in .*files are sent"):
        store.publish(RunLog.open(root, run_log.id))
    run_id = find_run(store, run_log).info.run_id
    assert store.client.list_artifacts(run_id) == []
    assert not list((root / "mlartifacts").rglob("*private*"))


@pytest.mark.parametrize("broken", ["missing", "not an image", "refused"])
def test_what_is_wrong_with_a_file_is_one_line(root, store, tmp_path, broken):
    run_log = RunLog.create(root, "run")
    write_image(tmp_path / "grid.png", 7)
    run_log.log_image("a", tmp_path / "grid.png", 64)
    (copied,) = run_log.folder.glob("files/*/grid.png")
    copied.unlink() if broken == "missing" else copied.write_bytes(b"PNG?")
    if broken == "refused":
        write_image(copied, 7)
        store.publish(run_log)
        store.client.log_param(find_run(store, run_log).info.run_id, "seed", 2)  # by hand
        run_log.log_params({"seed": 1})
    with pytest.raises(UserError, match=r"grid\.png is missing|cannot be read|refuses run log") as caught:
        store.publish(run_log)
    assert "\n" not in str(caught.value) and run_log.id in str(caught.value)


@pytest.mark.parametrize("folder", ["what?a=b", "100%20", "a#b c"])
def test_store_and_artifacts_are_in_the_repository_whatever_characters_its_path_has(tmp_path, monkeypatch, folder):
    root = tmp_path / folder
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    run_log = make_run_log(root, write_workspace(tmp_path / "w"), steps=3)
    store = Store(store_uri(root))
    store.publish(run_log)
    check_complete(store, run_log, steps=3)
    assert {path.name for path in root.iterdir()} == {".dcgan", "mlartifacts", "mlflow.db", "mlflow.db.lock"}
    assert {path.name for path in tmp_path.iterdir()} == {folder, "w"}
    (copy,) = (root / "mlartifacts").glob("*/artifacts/models/generator.safetensors")
    assert copy.read_bytes() == b"weights"
    run_id = find_run(store, run_log).info.run_id
    fetched = store.client.download_artifacts(run_id, "models/generator.safetensors", str(tmp_path / "w"))
    assert Path(fetched).read_bytes() == b"weights"
