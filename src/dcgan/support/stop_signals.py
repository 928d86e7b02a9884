"""Requests to stop: signals, and the death of the DVC process that the work belongs to."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcgan.support.errors import UserError

PARENT_CHECK_S = 1.0


class Interrupted(UserError):
    """The work was asked to stop and did so in good order."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopRequest:
    """Whether a stop was asked for, why, and the exit code that tells so."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.exit_code = 0

    def make(self, reason: str, exit_code: int) -> None:
        if self.reason is None:
            self.reason, self.exit_code = reason, exit_code


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch SIGTERM and Ctrl-C, and notice when the `dvc` above is gone; a second signal of a kind acts at once.

    DVC killed by SIGKILL leaves its stages running. Without this, a trainer would go on alone beside the next one.
    """
    request = StopRequest()
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, frame: object) -> None:
        request.make(signal.Signals(number).name, 128 + number)
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, on_signal)
    done = threading.Event()
    dvc = _dvc_ancestor()
    if dvc is not None:
        threading.Thread(target=_watch, args=(dvc, request, done), daemon=True).start()
    try:
        yield request
    finally:
        done.set()
        for number, handler in usual.items():
            signal.signal(number, handler)


def _watch(process: tuple[int, str], request: StopRequest, done: threading.Event) -> None:
    while not done.wait(PARENT_CHECK_S):
        if _identity(process[0]) != process:
            request.make(f"the end of dvc (process {process[0]})", 128 + signal.SIGTERM)
            return


def _dvc_ancestor() -> tuple[int, str] | None:
    """The nearest ancestor outside of the stage: DVC sets DVC_STAGE for what it starts, not for itself. Linux only."""
    if "DVC_STAGE" not in os.environ or not Path("/proc/self/environ").exists():
        return None
    pid = os.getppid()
    while pid > 1:
        try:
            inside = b"DVC_STAGE=" in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return None  # another user's process: not ours to watch
        if not inside:
            return _identity(pid)
        pid = int(_stat_fields(pid)[1])
    return None


def _identity(pid: int) -> tuple[int, str] | None:
    """A process by number and start time (numbers are used again), or None when it is gone or a zombie."""
    try:
        fields = _stat_fields(pid)
    except OSError:
        return None
    return None if fields[0] == "Z" else (pid, fields[19])


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on: the name before it may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
