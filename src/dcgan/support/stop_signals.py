"""Requests to stop: signals, and the death of the DVC process that started the work."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from dcgan.support.errors import UserError

DVC_CHECK_EVERY_S = 1.0


class Interrupted(UserError):
    """The work was asked to stop, and stopped cleanly."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopRequest:
    """Whether a stop was requested, why, and the exit code to end with. Only the first request counts."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.exit_code = 0

    def make(self, reason: str, exit_code: int) -> None:
        if self.reason is None:
            self.reason, self.exit_code = reason, exit_code


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGTERM, Ctrl-C and the death of the `dvc` process into a request; repeating a signal acts at once.

    A signal that the process was told to ignore stays ignored, as Ctrl-C does in a job that a script starts with `&`.

    A DVC killed with SIGKILL leaves its stages running. Without this check, a trainer would keep running next to the
    one that the next `dvc repro` starts.
    """
    request = StopRequest()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    previous = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}

    def on_signal(number: int, frame: object) -> None:
        request.make(signal.Signals(number).name, 128 + number)
        signal.signal(number, previous[number])

    for number in previous:
        signal.signal(number, on_signal)
    done = threading.Event()
    dvc = _dvc_ancestor()
    if dvc is not None:
        threading.Thread(target=_watch, args=(dvc, request, done), daemon=True).start()
    try:
        yield request
    finally:
        done.set()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(dvc: psutil.Process, request: StopRequest, done: threading.Event) -> None:
    while not done.wait(DVC_CHECK_EVERY_S):
        if _has_ended(dvc):
            request.make(f"the end of dvc (process {dvc.pid})", 128 + signal.SIGTERM)
            return


def _dvc_ancestor() -> psutil.Process | None:
    """The nearest ancestor outside the stage: DVC sets DVC_STAGE for the commands it starts, not for itself.

    None outside a stage, and when that process belongs to another user.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    try:
        return next((parent for parent in psutil.Process().parents() if "DVC_STAGE" not in parent.environ()), None)
    except psutil.Error:
        return None


def _has_ended(process: psutil.Process) -> bool:
    """Whether the process is gone or a zombie. psutil compares start times too: process ids are reused."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
