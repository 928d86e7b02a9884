"""File locks between processes, with `flock`: the operating system releases a lock when its holder dies.

A lock belongs to the file that was opened, not to its path. If the file is deleted, the next process creates another
one at the same path and locks that. So a lock counts only if its file is still the one at the path. Whoever holds a
lock for long calls `Lock.restore` once a second, and whoever waits for a lock leaves its holder the time to do that.
Nothing in this project deletes a lock file.
"""

import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dcgan.support.errors import UserError

POLL_S = 0.02
WAIT_S = 0.5  # `is_held` takes a lock for an instant; this outlasts it
RESTORE_S = 2.0  # a holder that is alive has restored its lock by then


class Taken(UserError):
    """Another process holds the lock."""


class Lock:
    """An exclusive lock on a path, held until it is closed or the process dies."""

    def __init__(self, path: Path, what: str, wait: float, while_waiting: Callable[[str], None] | None = None) -> None:
        self.path, self.what = path, what
        self._file = self._lock(wait, while_waiting)

    def restore(self) -> None:
        """Lock the path again if the file was deleted or replaced.

        Raises:
            Taken: another process has locked the new file in the meantime.
            UserError: the file cannot be created again.
        """
        if not is_at(self._file, self.path):
            former, self._file = self._file, self._lock(WAIT_S)
            former.close()

    def close(self) -> None:
        _rewrite(self._file, b"")
        self._file.close()

    def _lock(self, wait: float, while_waiting: Callable[[str], None] | None = None) -> BinaryIO:
        deadline = time.monotonic() + wait
        taken = -math.inf  # when the lock was last seen to be taken
        while (file := _try_lock(self.path, fcntl.LOCK_EX, create=time.monotonic() > taken + RESTORE_S)) is None:
            if taken == -math.inf or self.path.exists():
                taken = time.monotonic()
            if time.monotonic() >= deadline:
                raise Taken(
                    f"{self.path} is held {_holder(self.path)}; wait for that process or stop it, then run again"
                )
            if while_waiting:
                while_waiting(_holder(self.path))
            time.sleep(POLL_S)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "what": self.what}
        _rewrite(file, json.dumps(holder).encode())
        return file


@contextmanager
def hold(
    path: str | os.PathLike, what: str, wait: float = WAIT_S, while_waiting: Callable[[str], None] | None = None
) -> Iterator[Lock]:
    """Hold the lock `path` exclusively.

    Args:
        what: the purpose in a few words, shown to whoever finds the lock taken.
        wait: seconds to keep trying; may be infinite.
        while_waiting: called about 50 times a second with a description of the holder; may raise, to stop waiting.

    Raises:
        Taken: still held after `wait`; the message names process, machine, start and purpose.
        UserError: the lock file cannot be created.
    """
    lock = Lock(Path(path), what, wait, while_waiting)
    try:
        yield lock
    finally:
        lock.close()


def share(path: str | os.PathLike) -> BinaryIO:
    """Hold the lock `path` as one of several, until the returned file is closed or the process dies.

    Waits for as long as another process holds it exclusively.
    """
    while (file := _try_lock(path, fcntl.LOCK_SH)) is None:
        time.sleep(POLL_S)
    return file


def is_held(path: str | os.PathLike) -> bool:
    """Whether a living process holds the lock now, exclusively or shared.

    Not seen are the holders of a deleted lock file until they call `Lock.restore`.
    """
    if not Path(path).exists():
        return False
    file = _try_lock(path, fcntl.LOCK_EX)
    if file is not None:
        file.close()
    return file is None


def is_at(file: BinaryIO, path: str | os.PathLike) -> bool:
    """Whether an open lock file is still the one at the path; a deleted one keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:  # no file at the path, or, on NFS, a handle of a deleted one
        return False


def _try_lock(path: str | os.PathLike, mode: int, create: bool = True) -> BinaryIO | None:
    """The locked file, or None if another process holds a lock that excludes this one, or if there is no such file and
    none may be created."""
    while True:
        file = _open(path, create)
        if file is None:
            return None
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if is_at(file, path):
            return file
        file.close()  # deleted between opening and locking


def _open(path: str | os.PathLike, create: bool) -> BinaryIO | None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return open(os.open(path, flags, 0o644), "r+b", buffering=0)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not create:
            return None
        raise UserError(f"cannot lock {path}: {error.strerror}; make the folder writable, then run again") from error


def _rewrite(file: BinaryIO, content: bytes) -> None:
    with suppress(OSError):  # a full disk: the text only informs, the lock works without it
        file.truncate(0)
        os.pwrite(file.fileno(), content, 0)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"by process {holder['pid']} on {holder['host']} since {since} ({holder['what']})"
    except (OSError, ValueError):  # not written yet, deleted, or the lock is a shared one
        return "by another process"
