"""Records: whole or absent lines, nothing twice, several writers, the right record for an evaluation."""

import json
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.support.lock import Taken, hold, is_held
from dcgan.tracking.locations import pending, read_sent, redact_password, store_uri, write_sent
from dcgan.tracking.run_log import RunLog, flatten

SPAWN = multiprocessing.get_context("spawn")


def lines(record: RunLog) -> list[dict]:
    return [json.loads(line) for line in (record.folder / "events.jsonl").read_text().splitlines()]


def points(record: RunLog) -> list[tuple]:
    events = [event for event in lines(record) if event["event"] == "points"]
    return [(key, event["step"], value) for event in events for key, value in event["values"].items()]


def test_what_was_told_reads_back(tmp_path):
    record = RunLog.create(tmp_path, "first")
    record.log_params(
        {"train": {"seed": 1, "learning_rate": 1e-3, "ema_half_life": 10000.0}, "model": {"conditional": True}}
    )
    record.log_tags({"git.dirty": False})
    record.log_points({"train/loss_g": 0.5, "train/loss_d": 1}, step=64)
    record.finish("FINISHED")
    again = RunLog.open(tmp_path, record.id)
    assert (again.name, again.parent, again.status) == ("first", None, "FINISHED")
    assert again.params == {
        "train.seed": "1",
        "train.learning_rate": "0.001",
        "train.ema_half_life": "10000",
        "model.conditional": "true",
    }
    assert again.tags == {"git.dirty": "false"}
    assert points(again) == [("train/loss_g", 64, 0.5), ("train/loss_d", 64, 1.0)]
    assert abs(again.started / 1000 - time.time()) < 60


def test_a_number_that_is_not_finite_survives_as_strict_json(tmp_path):
    record = RunLog.create(tmp_path, "diverged")
    record.log_points({"a": math.nan, "b": math.inf, "c": -math.inf}, step=1)
    strict = json.loads((record.folder / "events.jsonl").read_text().splitlines()[-1], parse_constant=pytest.fail)
    assert strict["values"] == {"a": "nan", "b": "inf", "c": "-inf"}
    assert math.isnan(float(strict["values"]["a"])) and float(strict["values"]["c"]) == -math.inf


def test_a_resumed_record_passes_over_what_it_has(tmp_path):
    first = RunLog.create(tmp_path, "run")
    for step in range(5):
        first.log_points({"a": step, "b": -step}, step)
    first.log_params({"seed": 1})
    again = RunLog.open(tmp_path, first.id)
    for step in range(3, 8):  # the checkpoint was older than the last point
        again.log_points({"a": step, "b": -step}, step)
    again.log_params({"seed": 1})
    assert points(again) == [(key, step, sign * step) for step in range(8) for key, sign in (("a", 1.0), ("b", -1.0))]
    assert sum(event["event"] == "params" for event in lines(again)) == 1
    with pytest.raises(ValueError, match="seed is 1"):
        again.log_params({"seed": 2})


def test_a_torn_last_line_is_cut_off_and_told_again(tmp_path):
    record = RunLog.create(tmp_path, "run")
    record.log_points({"a": 1.0}, 1)
    whole = (record.folder / "events.jsonl").read_bytes()
    record.log_points({"a": 2.0}, 2)
    line = (record.folder / "events.jsonl").read_bytes()[len(whole) :]
    for length in range(len(line)):  # torn anywhere, the newline alone missing included
        (record.folder / "events.jsonl").write_bytes(whole + line[:length])
        again = RunLog.open(tmp_path, record.id)
        assert again.size() == len(whole)
        again.log_points({"a": 2.0}, 2)
        assert points(again) == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_a_torn_line_alone_is_nothing_to_send(tmp_path):
    record = RunLog.create(tmp_path, "run")
    write_sent(record.folder, "http://store", "r", record.size())
    with open(record.folder / "events.jsonl", "a") as stream:
        stream.write('{"event": "poi')
    assert pending(tmp_path, "http://store") == []
    assert pending(tmp_path, "http://another") == [record.folder]
    assert read_sent(record.folder, "http://another") == (None, 0)


def test_damage_before_the_end_is_said(tmp_path):
    record = RunLog.create(tmp_path, "run")
    record.log_points({"a": 1.0}, 1)
    path = record.folder / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"points"', b'"poi\0ts"'))
    with pytest.raises(UserError, match="damaged before byte"):
        RunLog.open(tmp_path, record.id)


def test_an_illegal_name_is_refused_at_once(tmp_path):
    record = RunLog.create(tmp_path, "run")
    with pytest.raises(ValueError, match=r"D\(x\)"):
        record.log_points({"D(x)": 1.0}, 1)


def _tell(root: Path, run_log_id: str, first: int) -> None:
    record = RunLog.open(root, run_log_id)
    for step in range(first, first + 200):
        record.log_points({"a": step}, step)


def test_writers_at_once_lose_and_double_nothing(tmp_path):
    record = RunLog.create(tmp_path, "run")
    firsts = [0, 100, 150]  # overlapping
    writers = [SPAWN.Process(target=_tell, args=(tmp_path, record.id, first)) for first in firsts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(step for _, step, _ in points(record)) == list(range(350))


ENDLESS = """
import sys; from pathlib import Path; from dcgan.tracking.run_log import RunLog
record = RunLog.open(Path(sys.argv[1]), sys.argv[2])
step = max((fact[2] for fact in record.told("point")), default=-1)
while True:
    step += 1
    record.log_points({f"series/{n}": step / 7 for n in range(20)}, step)
    print(step, flush=True)
"""


def test_kill_9_while_writing_leaves_whole_events(tmp_path):
    record = RunLog.create(tmp_path, "run")
    for round_ in range(3):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path), record.id]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(0.05 * (1 + round_))
            assert is_held(record.folder / "alive.lock")
            os.kill(writer.pid, signal.SIGKILL)
        again = RunLog.open(tmp_path, record.id)
        again.log_tags({"killed": round_ + 1})  # after a line that the kill tore, it may have torn none
        found = [(key, step) for key, step, _ in points(again)]
        steps = max(step for _, step in found) + 1
        assert sorted(found) == sorted((f"series/{n}", step) for n in range(20) for step in range(steps))


def test_a_dead_writer_is_not_alive(tmp_path):
    record = RunLog.create(tmp_path, "run")
    assert RunLog.open(tmp_path, record.id).is_alive
    os.rename(record.folder, tmp_path / ".dcgan/run_logs/moved")
    del record
    assert not RunLog.open(tmp_path, "moved").is_alive


def test_files_are_kept_after_the_workspace_is_gone(tmp_path):
    record = RunLog.create(tmp_path, "run")
    picture = tmp_path / "grid-000064.png"
    picture.write_bytes(b"first")
    record.log_image("progress", picture, 64)
    record.log_image("progress", picture, 64)
    record.log_file(picture, "metrics")
    picture.write_bytes(b"second")
    record.log_file(picture, "metrics")
    picture.unlink()
    told = [event for event in lines(record) if event["event"] in ("image", "file")]
    assert [(record.folder / event["file"]).read_bytes() for event in told] == [b"first", b"first", b"second"]


def test_the_newest_fitting_record_is_found(tmp_path):
    old = RunLog.create(tmp_path, "old", started=1000)
    new = RunLog.create(tmp_path, "new", started=2000)
    for record in (new, old):
        record.log_tags({"model.sha256": "abc"})
    child = RunLog.create(tmp_path, "child", parent=old.id, started=3000)
    child.log_tags({"model.sha256": "abc"})
    assert RunLog.find(tmp_path, {"model.sha256": "abc"}).id == new.id
    assert RunLog.find(tmp_path, {"model.sha256": "abc"}, parent=old.id).id == child.id
    assert RunLog.find(tmp_path, {"model.sha256": "xyz"}) is None
    with pytest.raises(UserError, match="no record nobody"):
        RunLog.open(tmp_path, "nobody")


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path):
    record = RunLog.create(tmp_path, "run")
    size = (record.folder / "events.jsonl").stat().st_size
    script = f"""
import resource, signal; from pathlib import Path; from dcgan.tracking.run_log import RunLog; from dcgan.support.errors import UserError
record = RunLog.open(Path({str(tmp_path)!r}), {record.id!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 40}, {size + 40}))
try:
    record.log_points({{"a": 1.0}}, 1)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout and done.stdout.count("\n") == 1
    assert (record.folder / "events.jsonl").stat().st_size == size


def test_flatten():
    assert flatten({"a": {"b": None, "c": {"d": 0.5}}, "e": "x"}) == {"a.b": "null", "a.c.d": "0.5", "e": "x"}


def test_the_store_is_the_same_from_a_queued_experiments_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "dvc.yaml").touch()
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert root_folder() == tmp_path
    assert store_uri(root_folder()) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "a"))
    assert store_uri(root_folder()) == f"sqlite:///{tmp_path}/a/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@example.org/x@y")
    assert store_uri(root_folder()) == "https://me:secret@example.org/x@y"
    assert redact_password(store_uri(root_folder())) == "https://example.org/x@y"


def test_a_full_disk_does_not_keep_the_lock_from_holding(tmp_path):
    """A limit of zero bytes a file stands for the full disk: the line that names the holder cannot be written."""
    path = tmp_path / "lock"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with hold(path, "training"):
            was_held = is_held(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert was_held
    assert path.read_bytes() == b""
    assert not is_held(path)


def _hold(path: str, event) -> None:
    with hold(path, "training"):
        event.set()
        time.sleep(60)


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path):
    event = SPAWN.Event()
    other = SPAWN.Process(target=_hold, args=(str(tmp_path / "lock"), event))
    other.start()
    assert event.wait(30)
    with (
        pytest.raises(Taken, match=rf"by process {other.pid} on .* since .* \(training\)"),
        hold(tmp_path / "lock", "x", 0),
    ):
        pass
    assert is_held(tmp_path / "lock")
    other.kill()
    other.join()
    assert not is_held(tmp_path / "lock")
    with hold(tmp_path / "lock", "x", wait=0):
        assert is_held(tmp_path / "lock")
