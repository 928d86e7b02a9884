"""The sending process next to a real stage, with a real `mlflow server` that is killed and started again."""

import argparse
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time

import pytest
from tracking.helpers import (
    check_complete,
    check_restored_run,
    find_run,
    history,
    make_run_log,
    publish_at_once,
    wait_for,
    write_workspace,
)
from tracking.servers import Proxy, Server

from dcgan.commands import publish
from dcgan.support.errors import UserError
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import next_pause, publishing
from dcgan.tracking.sent import Sent, read_sent, unsent_run_logs, write_sent


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


# A stage that logs a point every 10 ms until it reads its final status; then it prints the number of points, the
# longest time that one took, and how long the end took
STAGE = """
import select, sys, time
from dcgan.paths import root_folder
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import next_pause, publishing
steps, longest = 0, 0.0
try:
    with publishing(root_folder()):
        run_log = RunLog.create(root_folder(), "training")
        print(run_log.id, flush=True)
        while not select.select([sys.stdin], [], [], 0.01)[0]:
            start = time.perf_counter()
            run_log.log_points({"a": steps, "b": -steps}, steps)
            longest = max(longest, time.perf_counter() - start)
            steps += 1
        status = sys.stdin.readline().strip()
        run_log.finish(status)
        ended = time.monotonic()
        if status == "KILLED":
            sys.exit(1)
finally:
    print(steps, longest, time.monotonic() - ended, flush=True)
"""


class Stage:
    def __init__(self, uri: str, every: float = 0.3) -> None:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DCGAN_PUBLISH_EVERY_S": str(every)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", STAGE], **pipes, text=True, env=environment)
        self.run_log_id = self.process.stdout.readline().strip()

    def end(self, status: str = "FINISHED") -> None:
        output, self.stderr = self.process.communicate(f"{status}\n", timeout=60)
        steps, longest, ending = output.split()
        self.steps, self.longest, self.ending = int(steps), float(longest), float(ending)


@pytest.mark.faults
def test_a_server_that_is_down_then_up_then_killed_and_back_loses_nothing(root, server, tmp_path):
    """Down for the whole first stage; up for the second, but killed halfway and started again."""
    first = Stage(server.uri)
    wait_for(lambda: len(RunLog.open(root, first.run_log_id).logged("point")) > 300)  # 150 of each series
    first.end()
    assert first.steps > 100 and first.longest < 0.5 and first.ending < 23
    assert first.stderr.count("cannot send to") == first.stderr.count("`dcgan publish` sends the rest") == 1
    assert "connection refused" in first.stderr and first.stderr.count("\n") == 2

    server.start()
    store = Store(server.uri)
    second = Stage(server.uri)
    live = f"tags.`dcgan.run_log` = '{second.run_log_id}' and metrics.a > 50"
    wait_for(lambda: store.runs.search(live))
    server.kill()
    down_from = len(RunLog.open(root, second.run_log_id).logged("point"))
    wait_for(lambda: len(RunLog.open(root, second.run_log_id).logged("point")) > down_from + 200)
    server.start()
    backlog = len(RunLog.open(root, second.run_log_id).logged("point"))
    wait_for(lambda: store.runs.search(live.replace("> 50", f"> {backlog // 2}")))  # half of the points are a
    second.end()
    assert second.longest < 0.5
    assert second.stderr.count("cannot send to") == second.stderr.count("is back") == 1, second.stderr
    assert "dcgan publish" not in second.stderr and unsent_run_logs(root, server.uri) == []
    for stage in (first, second):  # the first stage's run log was sent along with the second's
        run = find_run(store, RunLog.open(root, stage.run_log_id))
        assert [point[:2] for point in history(store, run, "a")] == [(step, step) for step in range(stage.steps)]
        assert run.info.status == "FINISHED"

    run_log = make_run_log(root, write_workspace(tmp_path / "w"))  # artifacts through the server, and twice
    store.publish(run_log)
    next(run_log.folder.glob("sent-*.json")).unlink()
    store.publish(run_log)
    check_complete(store, run_log)


@pytest.mark.parametrize(("status", "bound"), [("KILLED", 15), pytest.param("FINISHED", 23, marks=pytest.mark.faults)])
def test_a_server_that_never_answers_does_not_hold_up_the_end(root, status, bound):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, never answers
        stage = Stage(f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}")
        time.sleep(1)
        stage.end(status)
    assert stage.longest < 0.5 and stage.ending < bound
    assert "`dcgan publish` sends the rest" in stage.stderr and "secret" not in stage.stderr


def test_the_sender_of_a_killed_stage_sends_the_rest_and_ends(root, store):
    stage = Stage(store.uri, every=600)
    run_log = RunLog.open(root, stage.run_log_id)
    wait_for(lambda: read_sent(run_log.folder, store.uri).size)  # the first send; the next regular one is far away
    before = RunLog.open(root, stage.run_log_id).size()
    wait_for(lambda: RunLog.open(root, stage.run_log_id).size() > before + 1000)
    stage.process.kill()
    started = time.monotonic()
    stage.process.communicate(timeout=30)  # returns when the sender, which has the same stderr, has ended
    assert time.monotonic() - started < 15
    run_log = RunLog.open(root, stage.run_log_id)
    run = find_run(store, run_log)
    steps = sorted(key[2] for key in run_log.logged("point") if key[1] == "a")
    assert [point[0] for point in history(store, run, "a")] == steps == list(range(len(steps)))
    assert (run.info.status, run_log.is_alive) == ("RUNNING", False)


def test_what_cannot_be_read_or_sent_is_reported_once_and_does_not_hold_up_the_others(
    root, store, tmp_path, monkeypatch
):
    """And what was begun for another store alone is not sent."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", "http://another")
        foreign = RunLog.create(root, "foreign")
    damaged, refused, whole = (RunLog.create(root, name) for name in ("damaged", "refused", "whole"))
    whole.log_points({"a": 1.0}, 1)
    (damaged.folder / "events.jsonl").write_bytes(b"not JSON\n")
    (tmp_path / "a.txt").touch()
    refused.log_file(tmp_path / "a.txt")
    shutil.rmtree(refused.folder / "files")
    os.utime(whole.folder / "events.jsonl", (0, 0))  # sent last
    for note in (b"", b'{"run'):
        write_sent(damaged.folder, store.uri, Sent())
        next(damaged.folder.glob("sent-*.json")).write_bytes(note)
    stage = Stage(store.uri)
    wait_for(lambda: store.runs.search(f"tags.`dcgan.run_log` = '{whole.id}'"))
    stage.end()
    assert stage.stderr.count(f"{damaged.id}/events.jsonl is damaged before byte 9") == 1
    assert stage.stderr.count("a.txt is missing or unreadable") == 1
    assert "1 run log(s) not sent in full" in stage.stderr and "cannot send" not in stage.stderr
    assert stage.stderr.count("\n") == 3
    assert set(unsent_run_logs(root, store.uri)) == {damaged.folder, refused.folder, foreign.folder}


def test_a_store_that_is_down_is_tried_less_and_less_often_but_at_least_every_minute():
    """Else the live view of a long training would come back long after the store."""
    pauses = [0.5]
    for _ in range(6):
        pauses.append(next_pause(pauses[-1], every=5.0, is_down=True))
    assert pauses[1:] == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert next_pause(60.0, every=5.0, is_down=False) == 5.0


def test_an_interval_that_is_not_a_number_is_refused(root, monkeypatch):
    monkeypatch.setenv("DCGAN_PUBLISH_EVERY_S", "often")
    with pytest.raises(UserError, match="DCGAN_PUBLISH_EVERY_S is 'often'"), publishing(root):
        pass


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [5, 40])
def test_a_server_that_creates_runs_slowly_makes_no_twins(root, server, seconds):
    """The stage ends before the request that creates its run is carried out, or after it."""
    server.start()
    store = Store(server.uri)
    delays = random.Random(seconds)
    with Proxy(server.port, lambda path: delays.uniform(15, 27) if path.endswith("runs/create") else 0) as proxy:
        stage = Stage(proxy.uri, every=2)
        time.sleep(seconds)
        stage.end()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
            patch.chdir(root)
            assert publish.run(argparse.Namespace(workspace=False)) == 0
        time.sleep(60)
    (run,) = store.runs.search(f"tags.`dcgan.run_log` = '{stage.run_log_id}'")
    assert (run.info.status, run.info.lifecycle_stage) == ("FINISHED", "active")
    assert [point[0] for point in history(store, run, "a")] == list(range(stage.steps))


@pytest.mark.faults
def test_a_server_that_forbids_some_requests_is_one_line(root, server):
    server.start()
    forbidden = ["runs/create"]
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    with Proxy(server.port, lambda path: None if path.endswith(tuple(forbidden)) else 0) as proxy:
        store = Store(proxy.uri)
        for _ in range(2):  # refused at once, the second time too: the answer is known
            started = time.monotonic()
            with pytest.raises(UserError, match=rf"refuses run log {run_log.id} .*403"):
                store.publish(run_log)
            assert time.monotonic() - started < 5
        forbidden[:] = ["runs/delete"]
        store.publish(run_log)
        kept = find_run(store, run_log).info.run_id
        tags = {"dcgan.run_log": run_log.id}
        twin = store.client.create_run(store.experiment_id, tags=tags).info.run_id
        store.publish(run_log)
    closed = Store(server.uri).client.get_run(twin)
    assert (closed.info.status, closed.info.lifecycle_stage) == ("KILLED", "active")
    assert closed.data.tags["dcgan.twin_of"] == kept


@pytest.mark.faults
def test_clones_that_publish_the_same_model_to_a_server_at_once_make_one_run(server, tmp_path):
    server.start()
    store = Store(server.uri)
    for round_ in range(10):
        clones = [write_workspace(tmp_path / f"{round_}-{clone}", b"model %d" % round_) for clone in range(3)]
        publish_at_once(clones, server.uri)
        check_restored_run(store, clones[0])
