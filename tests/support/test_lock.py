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


@contextmanager
def holder(path: Path, code: str = HOLD):
    """Another process that holds the lock until it is killed or gets a line on stdin."""
    command = f"import sys; from dcgan.support.lock import hold, share; path = sys.argv[1]\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-c", command, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
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
