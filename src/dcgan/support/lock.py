"""File locks between processes, with `flock`: the operating system releases a lock when its holder dies."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dcgan.support.errors import UserError

POLL_S = 0.02


class Taken(UserError):
    """Another process holds the lock."""


@contextmanager
def hold(path: str | os.PathLike, what: str, wait: float = 0.5) -> Iterator[None]:
    """Hold the lock `path` exclusively.

    The file is left behind: only the lock on it counts, and with the file removed two processes could each hold a lock.

    Args:
        what: the purpose in a few words, shown to whoever finds the lock taken.
        wait: seconds to keep trying. `is_held` takes the lock for an instant; the default outlasts that.

    Raises:
        Taken: still held after `wait`; the message names process, machine, start and purpose.
        UserError: the lock file cannot be created.
    """
    stream = _open(path)
    with stream:
        deadline = time.monotonic() + wait
        while not _try_lock(stream, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise Taken(f"{path} is held {_holder(stream)}; wait for that process or stop it, then run again")
            time.sleep(POLL_S)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "what": what}
        _rewrite(stream, json.dumps(holder).encode())
        try:
            yield
        finally:
            _rewrite(stream, b"")


def share(path: str | os.PathLike) -> BinaryIO:
    """Hold the lock `path` as one of several, until the returned file is closed or the process dies.

    Waits for as long as another process holds it exclusively.
    """
    stream = _open(path)
    fcntl.flock(stream, fcntl.LOCK_SH)
    return stream


def is_held(path: str | os.PathLike) -> bool:
    """Whether a living process holds the lock now, exclusively or shared."""
    if not Path(path).exists():
        return False
    with _open(path) as stream:
        return not _try_lock(stream, fcntl.LOCK_EX)


def _open(path: str | os.PathLike) -> BinaryIO:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror}; make the folder writable, then run again") from error


def _try_lock(stream: BinaryIO, mode: int) -> bool:
    try:
        fcntl.flock(stream, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rewrite(stream: BinaryIO, content: bytes) -> None:
    with suppress(OSError):  # a full disk: the text only informs, the lock works without it
        stream.truncate(0)
        os.pwrite(stream.fileno(), content, 0)


def _holder(stream: BinaryIO) -> str:
    try:
        holder = json.loads(os.pread(stream.fileno(), 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"by process {holder['pid']} on {holder['host']} since {since} ({holder['what']})"
    except ValueError:  # the holder has not written the text yet, or the lock is a shared one
        return "by another process"
