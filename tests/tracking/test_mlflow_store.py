"""Tracking against real stores: SQLite, and an `mlflow server` that is killed and started again."""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from dcgan.commands import clean, publish, ui
from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.support.lock import hold
from dcgan.tracking.locations import pending, store_uri
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import publishing
from dcgan.tracking.stage_outputs import log_evaluation, log_training, restore, run_log_for_evaluation, settings_hash

PARAMS = {
    "model": {"conditional": True},
    "train": {"seed": 1, "learning_rate": 0.001},
    "sample": {"seed": 1000, "count": 10},
    "evaluate": {"seed": 2000},
}
STEPS = 200
SERIES = ("train/loss_g", "train/loss_d", "train/acc_real")
IMAGE_STEPS = (0, 64, 128)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """A SQLite store with its tables: making them takes seconds. One test makes them itself."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM experiments WHERE name = 'dcgan'")
        connection.commit()
    return path


def write_workspace(folder: Path, model: bytes = b"weights", fid: float = 1.5) -> Path:
    """The files that the stages leave, and their dvc.lock, small."""
    outputs = {
        "models/generator.safetensors": model,
        "models/discriminator.safetensors": b"judge",
        "metrics/train.json": b"{}",
        "metrics/curves.csv": b"step,images,loss_g,x\n1,64,0.5,1\n2,128,nan,0.25\n",
        "metrics/evaluate.json": json.dumps({"fid": fid, "kid_x1000": 2, "protocol": {"n": 10}}).encode(),
        "samples/images-idx3-ubyte": b"digits",
    }
    for name, content in outputs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for step in IMAGE_STEPS:
        write_picture(folder / f"metrics/progress/images-{step:06}.png", step)
    write_picture(folder / "samples/grid.png", 255)
    write_lock(folder)
    return folder


def write_lock(folder: Path) -> None:
    def entries(*names: str) -> list[dict]:
        return [{"path": name, "md5": hashlib.md5((folder / name).read_bytes()).hexdigest()} for name in names]

    network, digits, scores = "models/generator.safetensors", "samples/images-idx3-ubyte", "metrics/evaluate.json"

    def sections(*names: str) -> dict:
        return {"params.yaml": {name: PARAMS[name] for name in names}}

    stages = {
        "train": {"params": sections("model", "train"), "outs": entries(network)},
        "sample": {"params": sections("sample"), "deps": entries(network), "outs": entries(digits)},
        "evaluate": {"params": sections("evaluate"), "deps": entries(digits), "outs": entries(scores)},
    }
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def write_picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (300, 400), grey).save(path)


def make_record(root: Path, workspace: Path, steps: int = STEPS) -> RunLog:
    record = RunLog.create(root, "training")
    for step in range(steps):
        record.log_points(dict.fromkeys(SERIES, step / 7), step)
    for picture in sorted((workspace / "metrics/progress").glob("*.png")):
        record.log_image("progress", picture, int(picture.stem[-6:]))
    record.log_file(workspace / "models/generator.safetensors", "models")
    record.log_dataset("MNIST", "ab" * 32, "data/raw", "training")
    record.log_params(PARAMS)
    record.log_tags({"mlflow.note.content": "A note."})
    return record


def the_run(store: Store, record: RunLog):
    (run,) = store.find_runs(f"tags.`dcgan.run_log` = '{record.id}'")
    return run


def history(store: Store, run, key: str) -> list[tuple]:
    points = store.client.get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value, point.timestamp) for point in points)


def check_whole(store: Store, record: RunLog, steps: int = STEPS) -> None:
    """Everything that `make_record` told is there, once."""
    run = the_run(store, record)
    for key in SERIES:
        found = history(store, run, key)
        assert [point[:2] for point in found] == [(step, step / 7) for step in range(steps)]
    assert store.images(run.info.run_id) == {("image", "progress", step) for step in IMAGE_STEPS}
    listed = store.client.list_artifacts(run.info.run_id, "images")
    assert len(listed) == 2 * len(IMAGE_STEPS)  # each with its thumbnail
    assert [item.path for item in store.client.list_artifacts(run.info.run_id, "models")] == [
        "models/generator.safetensors"
    ]
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["MNIST"]
    assert run.data.params["train.learning_rate"] == "0.001"


# ---- SQLite ----


@pytest.fixture
def store(root, empty_database) -> Store:
    shutil.copy(empty_database, root / "mlflow.db")
    return Store(store_uri(root))


def test_a_second_sending_adds_nothing(root, store, tmp_path):
    record = make_record(root, write_workspace(tmp_path / "w"))
    record.finish("FINISHED")
    assert store.publish(record) == record.size()
    before = the_run(store, record)
    assert store.publish(record) == 0
    for note in record.folder.glob("sent-*.json"):
        note.unlink()  # progress is only a shortcut
    assert store.publish(record) == record.size()
    check_whole(store, record)
    after = the_run(store, record)
    assert after.data.to_dictionary() == before.data.to_dictionary()
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    assert after.data.tags["mlflow.note.content"] == "A note."
    assert after.info.artifact_uri.startswith(str(root / "mlartifacts"))
    artifact = store.client.download_artifacts(after.info.run_id, "models/generator.safetensors", str(tmp_path))
    assert Path(artifact).read_bytes() == b"weights"


def test_images_are_named_as_mlflow_names_its_own(root, store, tmp_path):
    record = RunLog.create(root, "run")
    write_picture(tmp_path / "grid.png", 7)
    record.log_image("a/b", tmp_path / "grid.png", 64)
    store.publish(record)
    run_id = the_run(store, record).info.run_id
    store.client.log_image(run_id, Image.new("L", (9, 9)), key="a/b", step=128)
    assert store.images(run_id) == {("image", "a/b", 64), ("image", "a/b", 128)}
    ours, theirs = [
        sorted(
            re.sub(r"[0-9a-f-]{36}|\d{5,}", "*", item.path)
            for item in store.client.list_artifacts(run_id, "images")
            if step in item.path
        )
        for step in ("+64+", "+128+")
    ]
    assert ours == [name.replace("+128+", "+64+") for name in theirs]
    thumbnail = next(
        item.path
        for item in store.client.list_artifacts(run_id, "images")
        if "+64+" in item.path and ".webp" in item.path
    )
    with Image.open(store.client.download_artifacts(run_id, thumbnail, str(tmp_path))) as image:
        assert image.size == (192, 256)  # of 300 x 400


def test_a_number_that_is_not_finite_arrives(root, store):
    record = RunLog.create(root, "diverged")
    for step in range(2):
        record.log_points({"a": float("nan"), "b": float("-inf"), "c": 1.0}, step)
    store.publish(record)
    next(record.folder.glob("sent-*.json")).unlink()
    store.publish(record)
    run = the_run(store, record)
    assert [str(value) for _, value, _ in history(store, run, "a")] == ["nan", "nan"]
    assert [value < -1e308 for _, value, _ in history(store, run, "b")] == [True, True]  # MLflow's infinity


def test_status_follows_a_resumed_run(root, store):
    record = RunLog.create(root, "run")
    for status in ("KILLED", "FAILED", "FINISHED"):
        record.resume()
        store.publish(record)
        assert the_run(store, record).info.status == "RUNNING"
        record.finish(status)
        store.publish(record)
        assert the_run(store, record).info.status == status


def test_a_run_deleted_in_the_store_stays_deleted_and_a_new_store_gets_all(root, store, empty_database):
    record = RunLog.create(root, "run")
    record.log_points({"a": 1.0}, 1)
    store.publish(record)
    store.client.delete_run(the_run(store, record).info.run_id)
    record.log_points({"a": 2.0}, 2)
    assert store.publish(record) == 0 and pending(root, store.uri) == []
    assert the_run(store, record).info.lifecycle_stage == "deleted"
    shutil.copy(empty_database, root / "other.db")
    fresh = Store(f"sqlite:///{root}/other.db")
    assert fresh.publish(record) == record.size()
    assert [point[0] for point in history(fresh, the_run(fresh, record), "a")] == [1, 2]


# Real processes that start with MLflow imported: importing it takes longer than all they do
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["dcgan.tracking.mlflow_store"])


def _publish_all(root: Path, uri: str, is_connected: bool, ready, go) -> None:
    store = Store(uri) if is_connected else None
    ready.release()
    go.wait()
    store = store or Store(uri)
    for record in RunLog.all(root):
        store.publish(record)


def start_senders(root: Path, uri: str, count: int, is_connected: bool = False) -> list:
    """Processes that all begin, at the same moment, to send every record, or before that to connect."""
    ready, go = FORKS.Semaphore(0), FORKS.Event()
    senders = [FORKS.Process(target=_publish_all, args=(root, uri, is_connected, ready, go)) for _ in range(count)]
    for sender in senders:
        sender.start()
    for _ in senders:
        assert ready.acquire(timeout=60)
    go.set()
    return senders


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.faults)])
def test_kill_9_while_sending_loses_and_doubles_nothing(root, store, tmp_path, rounds):
    record = make_record(root, write_workspace(tmp_path / "w"), steps=4000)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(rounds):
        (sender,) = start_senders(root, store.uri, 1)
        time.sleep(chance.uniform(0, 1.5))
        sender.kill()
        sender.join()
        if chance.random() < 0.5:
            for note in record.folder.glob("sent-*.json"):
                note.unlink()
    store.publish(record)
    check_whole(store, record, steps=4000)


def test_four_processes_at_once_on_a_fresh_store(root, tmp_path):
    uri = store_uri(root)
    workspace = write_workspace(tmp_path / "w")
    records = [make_record(root, workspace, steps=50) for _ in range(4)]  # each process sends all four
    for sender in start_senders(root, uri, 4):
        sender.join(60)
        assert sender.exitcode == 0
    assert sqlite3.connect(root / "mlflow.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = Store(uri)
    for record in records:
        check_whole(store, record, steps=50)


def test_the_same_record_sent_by_several_at_once_is_one_run(root, store, tmp_path):
    record = make_record(root, write_workspace(tmp_path / "w"))
    for sender in start_senders(root, store.uri, 3, is_connected=True):
        sender.join(60)
        assert sender.exitcode == 0
    check_whole(store, record)


def test_the_experiment_that_was_deleted_is_said(store):
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match="mlflow experiments restore"):
        Store(store.uri)


# ---- workspaces ----


def test_one_training_takes_its_evaluation_and_other_settings_make_a_child(root, store, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    training = RunLog.create(root, "training")
    log_training(training, workspace, PARAMS)
    training.finish("FINISHED")
    assert log_evaluation(root, workspace, PARAMS).id == training.id
    assert log_evaluation(root, workspace, PARAMS).id == training.id
    others = {**PARAMS, "evaluate": {"seed": 7}}
    child = log_evaluation(root, workspace, others)
    assert (child.parent, child.id) == (training.id, log_evaluation(root, workspace, others).id)
    write_workspace(workspace, fid=9.0)  # equal settings, another result: other code or libraries
    other_result = log_evaluation(root, workspace, PARAMS)
    assert other_result.parent == training.id and other_result.id != child.id
    store.publish(child)
    store.publish(other_result)
    runs = [the_run(store, record) for record in (training, child, other_result)]
    assert [run.data.metrics["eval/fid"] for run in runs] == [1.5, 1.5, 9.0]
    assert [run.data.tags.get("mlflow.parentRunId") for run in runs] == [None, *[runs[0].info.run_id] * 2]
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert runs[1].data.params["evaluate.seed"] == "7"
    assert runs[0].data.tags["protocol.n"] == "10"
    assert [step for step, *_ in history(store, runs[0], "train/loss_g")] == [64, 128]
    assert [point[:2] for point in history(store, runs[0], "train/x")] == [(64, 1.0), (128, 0.25)]
    assert settings_hash(PARAMS) == RunLog.open(root, training.id).tags["evaluation.settings"]


def test_what_dvc_restored_is_published_once_from_two_clones(root, store, tmp_path, monkeypatch, capsys):
    """The first clone trained; the second and the third only have the files."""
    first = write_workspace(tmp_path / "first")
    training = RunLog.create(root, "training")
    log_training(training, first, PARAMS)
    training.finish("FINISHED")
    log_evaluation(root, first, PARAMS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(first)
    assert publish.run(None) == 0
    the_first = the_run(store, training)
    for clone in ("second", "third"):
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / clone))
        monkeypatch.chdir(write_workspace(tmp_path / clone))
        for _ in range(2):
            assert publish.run(None) == 0
    assert "0 of them with something new" in capsys.readouterr().out.splitlines()[-1]
    (run,) = store.find_runs("")
    assert repr(run.data.to_dictionary()) == repr(the_first.data.to_dictionary())  # as text, for the NaN in it
    assert [step for step, *_ in history(store, run, "train/loss_g")] == [64, 128]
    assert store.images(run.info.run_id) == {("image", "progress", step) for step in IMAGE_STEPS}


def test_a_workspace_without_record_makes_one_and_repeating_adds_nothing(root, store, tmp_path, monkeypatch):
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    for _ in range(2):
        assert publish.run(None) == 0
    (record,) = RunLog.all(root)
    run = the_run(store, record)
    assert run.data.metrics["eval/fid"] == 1.5 and run.data.params["train.seed"] == "1"
    assert run.data.tags["model.sha256"] == sha256("models/generator.safetensors")
    assert run.info.status == "FINISHED"
    assert store.images(run.info.run_id) == {("image", "progress", step) for step in IMAGE_STEPS}
    assert run_log_for_evaluation(root, Path.cwd(), PARAMS, settings_hash(PARAMS)).id == record.id


def test_half_a_restored_record_is_told_to_its_end(root, tmp_path, monkeypatch):
    workspace = write_workspace(tmp_path / "w")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dcgan.tracking.stage_outputs.log_progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        restore(root, workspace)
    assert [record.status for record in RunLog.all(root)] == ["RUNNING"]
    restore(root, workspace)
    (record,) = RunLog.all(root)
    assert (
        record.status == "FINISHED" and len(record.told("image")) == 3 and record.value("point", "eval/fid", 0) == 1.5
    )


def test_files_that_nobody_knows_the_origin_of_are_refused(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "models/generator.safetensors").write_bytes(b"from elsewhere")
    with pytest.raises(UserError, match=r"generator\.safetensors is not the one in dvc\.lock"):
        restore(root, workspace)
    assert RunLog.all(root) == []
    write_lock(workspace)  # the model is recorded now, but samples and scores are of another one: dvc.lock says so
    lock = json.loads((workspace / "dvc.lock").read_text())
    lock["stages"]["evaluate"]["deps"][0]["md5"] = "0" * 32
    (workspace / "dvc.lock").write_text(json.dumps(lock))
    assert restore(root, workspace).value("point", "eval/fid", 0) is None


# ---- a server ----


class Server:
    """A real `mlflow server` on loopback, to be killed and started again on the same data and port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        deadline = time.monotonic() + 60
        while not ui.answers(self.port):
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path, empty_database):
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    server = Server(folder)
    yield server
    with contextlib.suppress(ProcessLookupError):
        if server.process:
            server.kill()


# A stage: tells a point every 10 ms until it is told to end; reports how many, the longest time that one took, and how
# long the end took
STAGE = """
import select, sys, time; from dcgan.tracking.sender import publishing; from dcgan.tracking.run_log import RunLog
from dcgan.paths import root_folder
steps, longest = 0, 0.0
try:
    with publishing(root_folder()):
        record = RunLog.create(root_folder(), "training")
        print(record.id, flush=True)
        while not select.select([sys.stdin], [], [], 0.01)[0]:
            start = time.perf_counter()
            record.log_points({"a": steps, "b": -steps}, steps)
            longest = max(longest, time.perf_counter() - start)
            steps += 1
        status = sys.stdin.readline().strip()
        record.finish(status)
        ended = time.monotonic()
        if status == "KILLED":
            sys.exit(1)
finally:
    print(steps, longest, time.monotonic() - ended, flush=True)
"""


class Stage:
    def __init__(self, uri: str) -> None:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DCGAN_PUBLISH_EVERY_S": "0.3"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", STAGE], **pipes, text=True, env=environment)
        self.run_log_id = self.process.stdout.readline().strip()

    def end(self, status: str = "FINISHED") -> None:
        out, self.stderr = self.process.communicate(f"{status}\n", timeout=60)
        self.steps, self.longest, self.ending = (
            kind(word) for kind, word in zip((int, float, float), out.split(), strict=True)
        )


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_is_down_then_up_killed_and_back(root, server, tmp_path):
    """Down for the whole first stage; up for the second, killed in its middle and started again."""
    first = Stage(server.uri)
    time.sleep(3)
    first.end()
    assert first.steps > 100 and first.longest < 0.5 and first.ending < 8
    assert first.stderr.count("cannot send to") == first.stderr.count("`dcgan publish` sends the rest") == 1
    assert "connection refused" in first.stderr and first.stderr.count("\n") == 2

    server.start()
    store = Store(server.uri)
    second = Stage(server.uri)
    live = f"tags.`dcgan.run_log` = '{second.run_log_id}' and metrics.a > 50"
    wait_for(lambda: store.find_runs(live))
    server.kill()
    down_from = len(RunLog.open(root, second.run_log_id).told("point"))
    wait_for(lambda: len(RunLog.open(root, second.run_log_id).told("point")) > down_from + 200)
    server.start()
    wait_for(lambda: pending(root, server.uri) == [] or store.find_runs(live.replace("> 50", "> 250")))
    second.end()
    assert second.longest < 0.5
    assert second.stderr.count("cannot send to") == second.stderr.count("is back") == 1, second.stderr
    assert "dcgan publish" not in second.stderr and pending(root, server.uri) == []
    for stage in (first, second):  # the first one's record went along by itself
        run = the_run(store, RunLog.open(root, stage.run_log_id))
        assert [point[:2] for point in history(store, run, "a")] == [(step, step) for step in range(stage.steps)]
        assert run.info.status == "FINISHED"

    record = make_record(root, write_workspace(tmp_path / "w"))  # artifacts through the server, and twice
    store.publish(record)
    next(record.folder.glob("sent-*.json")).unlink()
    store.publish(record)
    check_whole(store, record)


@pytest.mark.parametrize(("status", "bound"), [("KILLED", 8), pytest.param("FINISHED", 23, marks=pytest.mark.faults)])
def test_a_server_that_never_answers_is_left_in_time(root, status, bound):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        stage = Stage(f"http://127.0.0.1:{silent.getsockname()[1]}")
        time.sleep(1)
        stage.end(status)
    assert stage.longest < 0.5 and stage.ending < bound
    assert "`dcgan publish` sends the rest" in stage.stderr


def test_the_sender_ends_with_a_killed_stage_after_sending(root, store):
    stage = Stage(store.uri)
    time.sleep(1)
    stage.process.kill()
    started = time.monotonic()
    stage.process.communicate(timeout=30)  # ends when the sender, who holds its stderr too, ends
    assert time.monotonic() - started < 15
    record = RunLog.open(root, stage.run_log_id)
    run = the_run(store, record)
    assert len(history(store, run, "a")) == len({fact for fact in record.told("point") if fact[1] == "a"}) > 20
    assert (run.info.status, record.is_alive) == ("RUNNING", False)


def test_a_damaged_record_is_said_once_and_does_not_keep_the_others(root, store):
    damaged, whole = RunLog.create(root, "damaged"), RunLog.create(root, "whole")
    whole.log_points({"a": 1.0}, 1)
    (damaged.folder / "events.jsonl").write_bytes(b"no JSON\n")
    os.utime(whole.folder / "events.jsonl", (0, 0))  # sent last
    stage = Stage(store.uri)
    wait_for(lambda: store.find_runs(f"tags.`dcgan.run_log` = '{whole.id}'"))
    stage.end()
    assert stage.stderr.count(f"{damaged.id}/events.jsonl is damaged before byte 8") == 1
    assert "cannot send" not in stage.stderr and pending(root, store.uri) == [damaged.folder]


def test_a_cadence_that_is_no_number_is_refused(root, monkeypatch):
    monkeypatch.setenv("DCGAN_PUBLISH_EVERY_S", "often")
    with pytest.raises(UserError, match="DCGAN_PUBLISH_EVERY_S is 'often'"), publishing(root):
        pass


# ---- commands ----


def test_publish_says_that_the_store_is_down(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"store http://127.* \(connection refused\)") as caught:
        publish.run(None)
    assert "secret" not in str(caught.value)


def test_ui_refuses_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="cannot be used") as caught:
        ui.check_port(taken.getsockname()[1])
    assert "dcgan ui --port" in str(caught.value)


def test_ui_serves_the_right_store_and_prints_the_comparison(root, store, tmp_path):
    record = RunLog.create(root, "to be seen")
    store.publish(record)
    port = free_port()
    command = [sys.executable, "-m", "dcgan.cli", "ui", "--port", str(port)]
    with open(tmp_path / "log", "w") as log:
        page = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = next(line for line in page.stdout if "http" in line)
        expected = f"http://127.0.0.1:{port}/#/experiments/{store.experiment_id}/runs"
        assert f"{expected}?workflowType=machine_learning&compareRunsMode=CHART" in line
        assert the_run(Store(f"http://127.0.0.1:{port}"), record).info.run_name == "to be seen"
    finally:
        page.terminate()  # as a script would; the server must not outlive it
        page.wait(30)
    assert page.returncode == 0 and not ui.answers(port)
    assert not (tmp_path / "mlflow.db").exists()


def test_clean_shows_then_removes_what_is_dead_and_spares_what_lives(root, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dead = RunLog.create(root, "dead")
    store.publish(dead)
    dead.__dict__.pop("_alive").close()  # as if its process had ended
    living = RunLog.create(root, "living")
    store.publish(living)
    stray = store.client.create_run(store.experiment_id, tags={"dcgan.run_log": "gone"})
    old = RunLog.create(root, "old")
    old.finish("FINISHED")
    store.publish(old)
    os.utime(old.folder / "events.jsonl", (1, 1))
    for name in ("idle", "busy"):
        (root / ".dcgan/runs" / name).mkdir(parents=True)
        (root / ".dcgan/runs" / name / "checkpoint").write_bytes(b"x" * 1000)
    with hold(root / ".dcgan/locks/busy", "training"):
        run_clean(yes=False)
        shown = capsys.readouterr().out
        assert "nothing was changed" in shown and "living" not in shown and "busy" not in shown
        assert RunLog.open(root, dead.id).status == "RUNNING" and old.folder.exists()
        assert [word in shown for word in (dead.id, stray.info.run_id, "idle", old.id)] == [True] * 4
        run_clean(yes=True)
        capsys.readouterr()
        run_clean(yes=True)
        assert capsys.readouterr().out == "nothing to clean\n"
    assert the_run(store, dead).info.status == "KILLED"
    assert store.client.get_run(stray.info.run_id).info.status == "KILLED"
    assert the_run(store, living).info.status == "RUNNING"
    assert [path.name for path in (root / ".dcgan/runs").iterdir()] == ["busy"]
    assert not old.folder.exists()


def run_clean(yes: bool) -> None:
    clean.run(argparse.Namespace(yes=yes))
