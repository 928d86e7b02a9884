"""A command that runs in the background, is stopped in order, and does not outlive whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

STOP_S = 30.0  # a trainer writes a checkpoint when it is stopped
# Linux ends a command with the process that started it, however that ended. Only the command itself: a stage notices
# the end of its DVC and stops in order.
_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.getppid() == int(sys.argv[1]) or sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Command:
    """A running command with everything it has started, in a process group of its own. Start it from the main thread:
    Linux takes the end of the thread that started it for the end of the process."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path) -> None:
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TIED, str(os.getpid()), *command],
                cwd=folder,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.poll()

    def request_stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def wait_for_stop(self) -> None:
        """Wait until nothing of it is left; what does not stop in time is killed."""
        deadline = time.monotonic() + STOP_S
        while self._is_any_alive():
            self._process.poll()
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                break
            time.sleep(0.1)
        self._process.wait()

    def _is_any_alive(self) -> bool:
        return any(_is_in_group(process, self._process.pid) for process in psutil.process_iter())


def _is_in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.Error):
        return False
