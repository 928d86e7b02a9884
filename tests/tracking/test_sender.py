"""The sending process next to a real stage, with a real `mlflow server` that is killed and started again."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from tracking.helpers import check_complete, find_run, history, make_run_log, wait_for, write_workspace
from tracking.servers import Server

from dcgan.support.errors import UserError
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import publishing
from dcgan.tracking.sent import unsent_run_logs


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
from dcgan.tracking.sender import publishing
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
    def __init__(self, uri: str) -> None:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DCGAN_PUBLISH_EVERY_S": "0.3"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", STAGE], **pipes, text=True, env=environment)
        self.run_log_id = self.process.stdout.readline().strip()

    def end(self, status: str = "FINISHED") -> None:
        output, self.stderr = self.process.communicate(f"{status}\n", timeout=60)
        steps, longest, ending = output.split()
        self.steps, self.longest, self.ending = int(steps), float(longest), float(ending)


def test_a_server_that_is_down_then_up_then_killed_and_back_loses_nothing(root, server, tmp_path):
    """Down for the whole first stage; up for the second, but killed halfway and started again."""
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
    wait_for(lambda: store.runs.search(live))
    server.kill()
    down_from = len(RunLog.open(root, second.run_log_id).logged("point"))
    wait_for(lambda: len(RunLog.open(root, second.run_log_id).logged("point")) > down_from + 200)
    server.start()
    wait_for(lambda: unsent_run_logs(root, server.uri) == [] or store.runs.search(live.replace("> 50", "> 250")))
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


@pytest.mark.parametrize(("status", "bound"), [("KILLED", 8), pytest.param("FINISHED", 23, marks=pytest.mark.faults)])
def test_a_server_that_never_answers_does_not_hold_up_the_end(root, status, bound):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, never answers
        stage = Stage(f"http://127.0.0.1:{silent.getsockname()[1]}")
        time.sleep(1)
        stage.end(status)
    assert stage.longest < 0.5 and stage.ending < bound
    assert "`dcgan publish` sends the rest" in stage.stderr


def test_the_sender_of_a_killed_stage_sends_the_rest_and_ends(root, store):
    stage = Stage(store.uri)
    time.sleep(1)
    stage.process.kill()
    started = time.monotonic()
    stage.process.communicate(timeout=30)  # returns when the sender, which has the same stderr, has ended
    assert time.monotonic() - started < 15
    run_log = RunLog.open(root, stage.run_log_id)
    run = find_run(store, run_log)
    assert len(history(store, run, "a")) == len({key for key in run_log.logged("point") if key[1] == "a"}) > 20
    assert (run.info.status, run_log.is_alive) == ("RUNNING", False)


def test_a_damaged_run_log_is_reported_once_and_does_not_hold_up_the_others(root, store):
    damaged, whole = RunLog.create(root, "damaged"), RunLog.create(root, "whole")
    whole.log_points({"a": 1.0}, 1)
    (damaged.folder / "events.jsonl").write_bytes(b"not JSON\n")
    os.utime(whole.folder / "events.jsonl", (0, 0))  # sent last
    stage = Stage(store.uri)
    wait_for(lambda: store.runs.search(f"tags.`dcgan.run_log` = '{whole.id}'"))
    stage.end()
    assert stage.stderr.count(f"{damaged.id}/events.jsonl is damaged before byte 9") == 1
    assert "cannot send" not in stage.stderr and unsent_run_logs(root, store.uri) == [damaged.folder]


def test_an_interval_that_is_not_a_number_is_refused(root, monkeypatch):
    monkeypatch.setenv("DCGAN_PUBLISH_EVERY_S", "often")
    with pytest.raises(UserError, match="DCGAN_PUBLISH_EVERY_S is 'often'"), publishing(root):
        pass
