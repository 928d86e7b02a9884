"""Live view: while a stage works, a process of its own sends what its record gains.

A process and not a thread: importing MLflow holds the interpreter for seconds and a call to a store that hangs must not
be able to hold up anything. It costs the stage nothing but the processor time it yields (it runs at low priority), and
it ends when the stage ends, however that happens, after one last, bounded attempt.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcgan.support.errors import UserError
from dcgan.support.lock import Taken
from dcgan.tracking.locations import pending, reason, redact_password, store_uri
from dcgan.tracking.run_log import RunLog

FIRST_SEND_S = 0.5  # after the stage's start: importing MLflow should be over when a short stage ends
SEND_EVERY_S = 5.0  # DCGAN_PUBLISH_EVERY_S overrides it
LONGEST_PAUSE_S = 60.0  # between two attempts at a store that does not answer
LAST_SEND_S = 20.0  # after the stage's end
LAST_SEND_WHEN_DOWN_S = 5.0


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Send all records of `root` while the block runs and once more at its end, for at most some 20 seconds.

    What the store could not take is said in one line at the end and stays for the next stage or `dcgan publish`.
    """
    uri = store_uri(root)
    sender = _start(root, _cadence())
    last_send = LAST_SEND_S
    try:
        yield
    except BaseException:
        last_send = LAST_SEND_WHEN_DOWN_S  # a stage that was told to end ends quickly
        raise
    finally:
        _end(sender, last_send)
        if kept := pending(root, uri):
            print(
                f"tracking: {len(kept)} record(s) not sent in full to {redact_password(uri)}; nothing is lost, "
                "`dcgan publish` sends the rest",
                file=sys.stderr,
            )


def _cadence() -> float:
    text = os.environ.get("DCGAN_PUBLISH_EVERY_S") or str(SEND_EVERY_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise UserError(
            f"DCGAN_PUBLISH_EVERY_S is {text!r}; it is a number of seconds above 0, {SEND_EVERY_S:g} if unset"
        )
    return seconds


def _start(root: Path, every: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "dcgan.tracking.sender", str(root), str(os.getpid()), str(every)]
    source = str(Path(__file__).parents[2])  # this checkout's code, as the stage itself
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    # A session of its own: Ctrl-C and a signal to the stage's group must not cut off the last send
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    )


def _end(sender: subprocess.Popen, seconds: float) -> None:
    """Tell the sender that the stage is over and wait for its last attempt; killing it in the middle loses nothing."""
    try:
        with suppress(subprocess.TimeoutExpired):
            sender.communicate(b"end\n", timeout=seconds)
    finally:
        sender.kill()
        sender.wait()


class _Sender:
    """What runs in the sending process."""

    def __init__(self, root: Path, stage: int, every: float) -> None:
        self.root, self.stage, self.every = root, stage, every
        self.uri = store_uri(root)
        self.store = None
        self.is_down = False
        self.damaged: set[Path] = set()

    def run(self) -> None:
        pause = FIRST_SEND_S
        while not self.is_stage_over(pause):
            self.send()
            pause = min(2 * max(pause, self.every), LONGEST_PAUSE_S) if self.is_down else self.every
        bound = threading.Timer(LAST_SEND_WHEN_DOWN_S if self.is_down else LAST_SEND_S, os._exit, [1])
        bound.daemon = True
        bound.start()
        self.send(wait=LAST_SEND_S)

    def is_stage_over(self, seconds: float) -> bool:
        """Wait that long for a word from the stage, the end of its pipe, or its death."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], min(left, 1.0))[0] or os.getppid() != self.stage:
                return True
        return False

    def send(self, wait: float = 0.0) -> None:
        """Send every record that has news, this stage's and those that earlier ones could not send."""
        folders = pending(self.root, self.uri)
        if not folders:
            return
        try:
            from dcgan.tracking.mlflow_store import Store  # seconds, and only when there is something to send

            self.store = self.store or Store(self.uri)
            for folder in folders:
                if record := self.open(folder):
                    self.send_record(record, wait)
        except Exception as error:  # whatever the store does, the stage goes on; what it was is said
            self.say_down(error)
        else:
            self.say_up()

    def open(self, folder: Path) -> RunLog | None:
        """The record, or None when it is damaged: said once, and the others are sent all the same."""
        try:
            return RunLog.open(self.root, folder.name)
        except UserError as error:
            if folder not in self.damaged:
                print(f"tracking: {error}", file=sys.stderr)
            self.damaged.add(folder)
            return None

    def send_record(self, record: RunLog, wait: float) -> None:
        try:
            self.store.publish(record, wait)
        except Taken:
            if wait:  # at the end it matters; before that it is enough that another process sends it
                raise

    def say_down(self, error: Exception) -> None:
        if not self.is_down:
            print(
                f"tracking: cannot send to {redact_password(self.uri)} ({reason(error)}); "
                "the run goes on; its record is kept and sent later",
                file=sys.stderr,
            )
        self.is_down, self.store = True, None

    def say_up(self) -> None:
        if self.is_down:
            print(f"tracking: {redact_password(self.uri)} is back; sending goes on", file=sys.stderr)
        self.is_down = False


def main() -> None:
    os.nice(10)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _Sender(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).run()


if __name__ == "__main__":
    main()
