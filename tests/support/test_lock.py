"""Locks between real processes: who holds one, and when it is free again."""

import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcgan.support.errors import UserError
from dcgan.support.lock import Taken, hold, is_held, share

HOLD = "with hold(path, 'training'): print('held', flush=True); sys.stdin.readline()"
SHARE = "stream = share(path); print('held', flush=True); sys.stdin.readline()"


def start(path: Path, code: str) -> subprocess.Popen:
    command = f"import sys; from dcgan.support.lock import hold, share; path = sys.argv[1]\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", command, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@contextmanager
def holder(path: Path, code: str = HOLD):
    """Another process that holds the lock until it is killed or gets a line on stdin."""
    process = start(path, code)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_taken_lock_names_its_holder(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as other:
        assert is_held(path)
        with pytest.raises(Taken) as caught, hold(path, "evaluating", wait=0):
            pass
    message = str(caught.value)
    assert f"{path} is held by process {other.pid} on {socket.gethostname()} since " in message
    assert message.endswith("(training); wait for that process or stop it, then run again")
    assert caught.value.exit_code == 2


def test_lock_of_a_killed_process_is_free_again(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as other:
        other.kill()
        other.wait()
        assert not is_held(path)
        with hold(path, "the next training", wait=0):
            assert is_held(path)
    assert not is_held(path)


def test_waiting_ends_when_the_holder_lets_go(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as other:
        other.stdin.write("\n")
        other.stdin.flush()
        with hold(path, "the next training", wait=30):
            assert f'"pid": {os.getpid()}' in path.read_text()
    assert path.read_text() == ""  # the next one to find it taken is not told about a former holder


def test_waiting_is_limited(tmp_path):
    with holder(tmp_path / "lock"):
        started = time.monotonic()
        with pytest.raises(Taken), hold(tmp_path / "lock", "x", wait=0.3):
            pass
        assert 0.3 <= time.monotonic() - started < 10


def test_shared_lock_has_many_holders_and_keeps_out_an_exclusive_one(tmp_path):
    path = tmp_path / "lock"
    with holder(path, SHARE), holder(path, SHARE) as second:
        with share(path):
            assert is_held(path)
        assert is_held(path)
        with pytest.raises(Taken, match="is held by another process"), hold(path, "x", wait=0):
            pass
        second.kill()
        second.wait()
        assert is_held(path)
    assert not is_held(path)


def test_lock_that_nobody_ever_held(tmp_path):
    assert not is_held(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


def test_full_disk_does_not_keep_the_lock_from_holding(tmp_path):
    """A file size limit of zero bytes stands in for the full disk: the holder's name cannot be written."""
    path = tmp_path / "lock"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with hold(path, "training"):
            was_held = is_held(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert was_held
    assert path.read_bytes() == b""
    assert not is_held(path)


def test_lock_in_a_folder_that_cannot_be_created_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(UserError, match=r"cannot lock .*; make the folder writable"),
        hold(tmp_path / "file" / "lock", ""),
    ):
        pass


def test_waiting_for_a_deleted_lock_file_lets_no_two_processes_in(tmp_path):
    """Whoever waits on the deleted file would get that one, and the next process the new one at the same path."""
    path = tmp_path / "lock"
    waits = "with hold(path, 'x', wait=30): print('held', flush=True); sys.stdin.readline()"
    with holder(path) as first:
        second = start(path, waits)
        time.sleep(0.5)  # it has the file open by now
        path.unlink()
        first.kill()
        first.wait()
        assert second.stdout.readline() == "held\n"
        with pytest.raises(Taken, match=f"process {second.pid} "), hold(path, "x", wait=0):
            pass
        second.communicate("\n")


def test_a_holder_locks_its_deleted_file_again(tmp_path):
    path = tmp_path / "lock"
    with hold(path, "training") as lock:
        path.unlink()
        assert not is_held(path)
        lock.restore()
        assert is_held(path)
        assert f'"pid": {os.getpid()}' in path.read_text()
        path.replace(tmp_path / "moved")
        path.write_text("of another inode")
        lock.restore()
        assert is_held(path)
    assert not is_held(path)


def test_whoever_waits_for_a_deleted_lock_file_lets_its_living_holder_restore_it(tmp_path):
    path = tmp_path / "lock"
    tell = "tell = lambda holder: print('waiting', flush=True)\n"
    with hold(path, "training") as lock:
        second = start(path, f"{tell}with hold(path, 'x', wait=30, while_waiting=tell): print('held')")
        assert second.stdout.readline() == "waiting\n"
        path.unlink()
        time.sleep(0.5)
        lock.restore()
        assert second.poll() is None
    assert second.communicate()[0].endswith("held\n")


def test_a_holder_is_told_who_took_its_deleted_lock(tmp_path):
    path = tmp_path / "lock"
    with hold(path, "training") as lock:
        path.unlink()
        with holder(path) as other, pytest.raises(Taken, match=f"process {other.pid} "):
            lock.restore()
