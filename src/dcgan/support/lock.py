"""One kind of lock for trainer, records and store: `flock` on a file, which the system lets go when its holder dies."""

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
    """Somebody else holds the lock."""


@contextmanager
def hold(path: str | os.PathLike, what: str, wait: float = 0.5) -> Iterator[None]:
    """Hold the lock `path` alone; `what` says in a few words to what end, for whoever finds it taken.

    The file stays behind (removing it would let two holders in); only the lock on it counts. `wait` is in seconds:
    half a second passes over those who only look whether it is held.

    Raises:
        Taken: still held after `wait`; names holder, process, machine and since when.
    """
    stream = _open(path)
    with stream:
        deadline = time.monotonic() + wait
        while not _try(stream, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise Taken(f"{path} is taken {_holder(stream)}; wait for it or end it, then run again")
            time.sleep(POLL_S)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "what": what}
        _rewrite(stream, json.dumps(holder).encode())
        try:
            yield
        finally:
            _rewrite(stream, b"")


def share(path: str | os.PathLike) -> BinaryIO:
    """Take the lock together with others who share it, until the returned file is closed or the process dies."""
    stream = _open(path)
    fcntl.flock(stream, fcntl.LOCK_SH)
    return stream


def is_held(path: str | os.PathLike) -> bool:
    """Whether a living process holds or shares the lock now."""
    if not Path(path).exists():
        return False
    with _open(path) as stream:
        return not _try(stream, fcntl.LOCK_EX)


def _open(path: str | os.PathLike) -> BinaryIO:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror}; make the folder writable, then run again") from error


def _try(stream: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rewrite(stream: BinaryIO, content: bytes) -> None:
    with suppress(OSError):  # a full disk: the line only informs, the lock holds without it
        stream.truncate(0)
        os.pwrite(stream.fileno(), content, 0)


def _holder(stream: BinaryIO) -> str:
    try:
        holder = json.loads(os.pread(stream.fileno(), 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"by process {holder['pid']} on {holder['host']} since {since} ({holder['what']})"
    except ValueError:  # the holder has not written its line yet, or only shares the lock
        return "by another process"
