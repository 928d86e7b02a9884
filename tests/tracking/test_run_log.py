"""Run logs: whole lines or none, nothing twice, several writers at once."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from dcgan.support.errors import UserError
from dcgan.support.lock import is_held
from dcgan.tracking.run_log import Damaged, RunLog, damaged_run_logs


def lines(run_log: RunLog) -> list[dict]:
    return [json.loads(line) for line in (run_log.folder / "events.jsonl").read_text().splitlines()]


def points(run_log: RunLog) -> list[tuple]:
    events = [event for event in lines(run_log) if event["event"] == "points"]
    return [(key, event["step"], value) for event in events for key, value in event["values"].items()]


def test_what_was_logged_reads_back(tmp_path):
    run_log = RunLog.create(tmp_path, "first")
    run_log.log_params(
        {"train": {"seed": 1, "learning_rate": 1e-3, "ema_half_life": 10000.0}, "model": {"conditional": True}}
    )
    run_log.log_tags({"git.dirty": False})
    run_log.log_points({"train/loss_g": 0.5, "train/loss_d": 1}, step=64)
    run_log.finish("FINISHED")
    again = RunLog.open(tmp_path, run_log.id)
    assert (again.name, again.parent, again.status) == ("first", None, "FINISHED")
    assert again.params == {
        "train.seed": "1",
        "train.learning_rate": "0.001",
        "train.ema_half_life": "10000",
        "model.conditional": "true",
    }
    assert again.tags == {"git.dirty": "false"}
    assert points(again) == [("train/loss_g", 64, 0.5), ("train/loss_d", 64, 1.0)]
    assert again.value("point", "train/loss_g", 64) == 0.5
    assert again.value("point", "train/loss_g", 65) is None
    assert abs(again.started / 1000 - time.time()) < 60


def test_a_number_that_is_not_finite_is_stored_as_strict_json(tmp_path):
    run_log = RunLog.create(tmp_path, "diverged")
    run_log.log_points({"a": math.nan, "b": math.inf, "c": -math.inf}, step=1)
    strict = json.loads((run_log.folder / "events.jsonl").read_text().splitlines()[-1], parse_constant=pytest.fail)
    assert strict["values"] == {"a": "nan", "b": "inf", "c": "-inf"}
    assert math.isnan(float(strict["values"]["a"])) and float(strict["values"]["c"]) == -math.inf


def test_a_resumed_run_log_skips_what_it_has(tmp_path):
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


def test_only_the_new_values_of_an_event_are_appended(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    run_log.log_points({"a": 1}, 1)
    run_log.log_points({"a": 1, "b": 2}, 1)
    assert points(run_log) == [("a", 1, 1.0), ("b", 1, 2.0)]


def test_tags_and_status_can_change(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    for value in ("x", "y", "y", "x"):
        run_log.log_tags({"a": value})
    assert [event["values"]["a"] for event in lines(run_log) if event["event"] == "tags"] == ["x", "y", "x"]
    run_log.finish("KILLED")
    run_log.finish("KILLED")
    run_log.resume()
    assert [event["status"] for event in lines(run_log) if event["event"] == "status"] == ["KILLED", "RUNNING"]
    with pytest.raises(ValueError, match="status is 'DONE'; allowed are FINISHED, FAILED, KILLED"):
        run_log.finish("DONE")


def test_a_last_line_cut_short_is_removed_and_logged_again(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    run_log.log_points({"a": 1.0}, 1)
    whole = (run_log.folder / "events.jsonl").read_bytes()
    run_log.log_points({"a": 2.0}, 2)
    line = (run_log.folder / "events.jsonl").read_bytes()[len(whole) :]
    for length in range(len(line)):  # cut anywhere, even just before the newline
        (run_log.folder / "events.jsonl").write_bytes(whole + line[:length])
        again = RunLog.open(tmp_path, run_log.id)
        assert again.size() == len(whole)
        again.log_points({"a": 2.0}, 2)
        assert points(again) == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_damage_before_the_last_line_is_reported(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    run_log.log_points({"a": 1.0}, 1)
    path = run_log.folder / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"points"', b'"poi\0ts"'))
    with pytest.raises(UserError, match="damaged before byte"):
        RunLog.open(tmp_path, run_log.id)


@pytest.mark.parametrize("damage", [b'{"event": "metrics", "loss": 1}\n', b"\0\0\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_a_damaged_run_log_is_one_clear_line_and_does_not_hide_the_others(tmp_path, damage):
    whole, damaged = RunLog.create(tmp_path, "whole"), RunLog.create(tmp_path, "damaged")
    with open(damaged.folder / "events.jsonl", "ab") as stream:
        stream.write(damage)
    with pytest.raises(Damaged, match=r"another version \(.*move its folder away") as caught:
        RunLog.open(tmp_path, damaged.id)
    assert "\n" not in str(caught.value) and damaged.id in str(caught.value)
    assert [run_log.id for run_log in RunLog.all(tmp_path)] == [whole.id]
    assert [str(error) for error in damaged_run_logs(tmp_path)] == [str(caught.value)]


def test_a_run_log_that_cannot_be_read_is_one_clear_line(tmp_path):
    (tmp_path / ".dcgan/run_logs/unreadable/events.jsonl").mkdir(parents=True)  # root may read any file, but no folder
    (error,) = damaged_run_logs(tmp_path)
    assert re.fullmatch(
        r"cannot read .*unreadable/events\.jsonl: Is a directory; make it readable or move it away", str(error)
    )


@pytest.mark.parametrize(
    "place", ["/etc/hostname", "../{other}/files/0123456789abcdef/a.txt", "files/../events.jsonl", "files/link"]
)
def test_only_copies_in_the_run_log_are_handed_out(tmp_path, place):
    """A run log may have been copied here by hand, from whoever wanted to have one of our files."""
    run_log, other = RunLog.create(tmp_path, "copied"), RunLog.create(tmp_path, "other")
    (tmp_path / "a.txt").write_bytes(b"secret")
    other.log_file(tmp_path / "a.txt")
    (run_log.folder / "files").mkdir()
    (run_log.folder / "files/link").symlink_to(tmp_path / "a.txt")
    with pytest.raises(UserError, match=r"names the file .*; only files in .*files are sent"):
        run_log.copied_file(place.format(other=other.id))


def test_a_missing_copy_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"files/0123/a\.txt is missing or unreadable; restore it, or move"):
        RunLog.create(tmp_path, "run").copied_file("files/0123/a.txt")


@pytest.mark.parametrize("name", ["../../elsewhere", "..", "", "/tmp"])
def test_an_id_is_a_name_and_not_a_path(tmp_path, name):
    RunLog.create(tmp_path / "elsewhere", "run")
    with pytest.raises(UserError, match="no run log"):
        RunLog.open(tmp_path, name)


def test_run_logs_of_the_former_format_and_place_are_ignored(tmp_path):
    former = tmp_path / ".dcgan/records/20250101-000000-abcdef"
    former.mkdir(parents=True)
    (former / "events.jsonl").write_text('{"event": "run", "name": "old", "time": 1, "parent": null}\n')
    assert RunLog.all(tmp_path) == []


def test_an_illegal_name_is_refused_at_once(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    with pytest.raises(ValueError, match=r"D\(x\)"):
        run_log.log_points({"D(x)": 1.0}, 1)


def test_what_others_have_written_is_read_before_writing(tmp_path):
    one = RunLog.create(tmp_path, "run")
    two = RunLog.open(tmp_path, one.id)
    for step, writer in enumerate((one, two, one)):
        writer.log_points({"same": 1.0}, 0)
        writer.log_points({"own": 1.0}, step)
        writer.log_params({"seed": 1})
    assert points(one) == [("same", 0, 1.0), *(("own", step, 1.0) for step in range(3))]
    assert sum(event["event"] == "params" for event in lines(one)) == 1
    with pytest.raises(ValueError, match="seed is 1"):
        two.log_params({"seed": 2})


WRITER = """
import sys, time; from pathlib import Path; from dcgan.tracking.run_log import RunLog
run_log = RunLog.open(Path(sys.argv[1]), sys.argv[2])
print(flush=True)
start = float(sys.stdin.readline())
while time.time() < start:
    pass
for step in range(int(sys.argv[3]), int(sys.argv[3]) + 200):
    run_log.log_points({"a": step}, step)
"""


def test_writers_at_once_lose_and_duplicate_nothing(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), run_log.id, str(first)], **pipes)
        for first in (0, 100, 150)  # overlapping
    ]
    for writer in writers:
        writer.stdout.readline()
    start = time.time() + 0.3  # all write from the same moment on
    for writer in writers:
        writer.stdin.write(f"{start}\n".encode())
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert sorted(step for _, step, _ in points(run_log)) == list(range(350))


ENDLESS = """
import sys; from pathlib import Path; from dcgan.tracking.run_log import RunLog
run_log = RunLog.open(Path(sys.argv[1]), sys.argv[2])
step = max((key[2] for key in run_log.logged("point")), default=-1)
while True:
    step += 1
    run_log.log_points({f"series/{n}": step / 7 for n in range(20)}, step)
    print(step, flush=True)
"""


def test_kill_9_while_writing_leaves_whole_events(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    for round_ in range(3):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path), run_log.id]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(0.05 * (1 + round_))
            assert is_held(run_log.folder / "alive.lock")
            os.kill(writer.pid, signal.SIGKILL)
        again = RunLog.open(tmp_path, run_log.id)
        again.log_tags({"killed": round_ + 1})  # after a line that the kill may have cut short
        found = [(key, step) for key, step, _ in points(again)]
        steps = max(step for _, step in found) + 1
        assert sorted(found) == sorted((f"series/{n}", step) for n in range(20) for step in range(steps))


def test_a_run_log_without_a_living_writer_is_not_alive(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    assert RunLog.open(tmp_path, run_log.id).is_alive
    os.rename(run_log.folder, tmp_path / ".dcgan/run_logs/moved")
    del run_log
    assert not RunLog.open(tmp_path, "moved").is_alive


def test_files_are_kept_after_the_workspace_is_gone(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    image = tmp_path / "grid-000064.png"
    image.write_bytes(b"first")
    run_log.log_image("progress", image, 64)
    run_log.log_image("progress", image, 64)
    run_log.log_file(image, "metrics")
    image.write_bytes(b"second")
    run_log.log_file(image, "metrics")
    image.unlink()
    logged = [event for event in lines(run_log) if event["event"] in ("image", "file")]
    assert [(run_log.folder / event["file"]).read_bytes() for event in logged] == [b"first", b"first", b"second"]


def test_the_newest_matching_run_log_is_found(tmp_path):
    old = RunLog.create(tmp_path, "old", started=1000)
    new = RunLog.create(tmp_path, "new", started=2000)
    for run_log in (new, old):
        run_log.log_tags({"model.sha256": "abc"})
    child = RunLog.create(tmp_path, "child", parent=old.id, started=3000)
    child.log_tags({"model.sha256": "abc"})
    assert RunLog.find(tmp_path, {"model.sha256": "abc"}).id == new.id
    assert RunLog.find(tmp_path, {"model.sha256": "abc"}, parent=old.id).id == child.id
    assert RunLog.find(tmp_path, {"model.sha256": "xyz"}) is None
    with pytest.raises(UserError, match="no run log nobody"):
        RunLog.open(tmp_path, "nobody")


def test_a_full_disk_is_reported_and_leaves_whole_lines(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    size = (run_log.folder / "events.jsonl").stat().st_size
    script = f"""
import resource, signal
from pathlib import Path
from dcgan.support.errors import UserError
from dcgan.tracking.run_log import RunLog
run_log = RunLog.open(Path({str(tmp_path)!r}), {run_log.id!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 40}, {size + 40}))
try:
    run_log.log_points({{"a": 1.0}}, 1)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout and done.stdout.count("\n") == 1
    assert (run_log.folder / "events.jsonl").stat().st_size == size


def test_a_living_writer_whose_lock_was_deleted_is_alive_again_from_its_next_event_on(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    (run_log.folder / "alive.lock").unlink()
    run_log.log_points({"train/loss_g": 1.0}, step=1)
    assert run_log.is_alive
