"""Live view: while a stage runs, a separate process sends what its run log gains.

A process and not a thread: importing MLflow holds the interpreter for seconds, and a call to a store that hangs must
not hold up the stage. The process runs at low priority and so costs the stage little. It ends when the stage ends,
however that happens, after one last attempt of limited time.
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
from dcgan.tracking.locations import redact_password, store_uri, summarize_error
from dcgan.tracking.names import NEVER, PUBLISH_COMMAND, SEND_EVERY_VARIABLE
from dcgan.tracking.run_log import Damaged, RunLog, damaged_run_logs
from dcgan.tracking.sent import Unanswered, pending_run_logs, unsettled_run_logs

FIRST_SEND_S = 0.5  # after the stage's start: MLflow should be imported by the time a short stage ends
SEND_EVERY_S = 5.0  # unless SEND_EVERY_VARIABLE is set
LONGEST_PAUSE_S = 60.0  # between two attempts at a store that does not answer
LAST_SEND_S = 20.0  # after the stage's end
LAST_SEND_WHEN_DOWN_S = 5.0


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Send the run logs of `root` that were begun for this store while the block runs and once more when it ends,
    which takes up to 20 seconds.

    What the store could not take is reported in one line at the end and stays for the next stage or `dcgan publish`.
    Run logs that cannot be read are reported then, too, in one line each.

    Raises:
        UserError: the environment variable for the time between two sends is neither a number of seconds nor "never".
    """
    if os.environ.get(SEND_EVERY_VARIABLE) == NEVER:
        yield
        return
    uri = store_uri(root)
    sender = _start_sender(root, _send_every())
    last_send = LAST_SEND_S
    try:
        yield
    except BaseException:
        last_send = LAST_SEND_WHEN_DOWN_S  # a stage that was asked to stop should end soon
        raise
    finally:
        _stop_sender(sender, last_send)
        _report_leftovers(root, uri)


def _report_leftovers(root: Path, uri: str) -> None:
    for damaged in damaged_run_logs(root):
        print(f"tracking: skipped a run log: {damaged}", file=sys.stderr)
    readable = {run_log.folder for run_log in RunLog.all(root)}
    if unsent := readable.intersection(pending_run_logs(root, uri)):
        print(
            f"tracking: {len(unsent)} run log(s) not sent in full to {redact_password(uri)}; nothing is lost, "
            f"`{PUBLISH_COMMAND}` sends the rest",
            file=sys.stderr,
        )


def _send_every() -> float:
    text = os.environ.get(SEND_EVERY_VARIABLE) or str(SEND_EVERY_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise UserError(
            f"{SEND_EVERY_VARIABLE} is {text!r}; allowed is a number of seconds above 0 ({SEND_EVERY_S:g} if "
            f"unset), or {NEVER}"
        )
    return seconds


def _start_sender(root: Path, every: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "dcgan.tracking.sender", str(root), str(os.getpid()), str(every)]
    source = str(Path(__file__).parents[2])  # the same checkout's code as the stage
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    # In its own session: Ctrl-C and a signal to the stage's process group must not cut off the last send
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    )


def _stop_sender(sender: subprocess.Popen, seconds: float) -> None:
    """Let the sender know that the stage is over and wait for its last attempt; killing it halfway loses nothing."""
    try:
        with suppress(subprocess.TimeoutExpired):
            sender.communicate(b"end\n", timeout=seconds)
    finally:
        sender.kill()
        sender.wait()


def next_pause(pause: float, every: float, is_down: bool) -> float:
    """Seconds until the next attempt, after one that followed a pause of `pause`: doubled while the store is down."""
    return min(2 * max(pause, every), LONGEST_PAUSE_S) if is_down else every


class _Sender:
    """What runs in the sending process."""

    def __init__(self, root: Path, stage_pid: int, every: float) -> None:
        self.root, self.stage_pid, self.every = root, stage_pid, every
        self.uri = store_uri(root)
        self.store = None
        self.is_down = False
        self.refused: set[Path] = set()

    def run(self) -> None:
        pause = FIRST_SEND_S
        while not self.is_stage_over(pause):
            self.send()
            pause = next_pause(pause, self.every, self.is_down)
        timeout = threading.Timer(LAST_SEND_WHEN_DOWN_S if self.is_down else LAST_SEND_S, os._exit, [1])
        timeout.daemon = True
        timeout.start()
        self.send(wait=LAST_SEND_S)

    def is_stage_over(self, seconds: float) -> bool:
        """Wait for that long; stop early and return True if the stage writes to its pipe, closes it or dies."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], min(left, 1.0))[0] or os.getppid() != self.stage_pid:
                return True
        return False

    def send(self, wait: float = 0.0) -> None:
        """Send run logs with new events: this stage's, and those that earlier stages could not send to this store."""
        folders = list(dict.fromkeys(pending_run_logs(self.root, self.uri) + unsettled_run_logs(self.root, self.uri)))
        if not folders:
            return
        try:
            from dcgan.tracking.mlflow_store import Store  # takes seconds, so only when there is something to send

            self.store = self.store or Store(self.uri)
            for folder in folders:
                self.send_run_log(folder, wait)
        except Exception as error:  # whatever the store does, the stage goes on; the reason is reported
            self.report_down(error)
        else:
            self.report_up()

    def send_run_log(self, folder: Path, wait: float) -> None:
        """One that cannot be read, or that the store refuses, does not hold up the others."""
        try:
            self.store.publish(RunLog.open(self.root, folder.name), wait)
        except Damaged:  # reported by the stage when it ends
            pass
        except (Taken, Unanswered):
            if wait:  # at the end it matters; before that, there is another attempt
                raise
        except UserError as error:
            if folder not in self.refused:
                print(f"tracking: {error}", file=sys.stderr)
            self.refused.add(folder)

    def report_down(self, error: Exception) -> None:
        if not self.is_down:
            print(
                f"tracking: cannot send to {redact_password(self.uri)} ({summarize_error(error)}); "
                "the run goes on; its run log is kept and sent later",
                file=sys.stderr,
            )
        self.is_down, self.store = True, None

    def report_up(self) -> None:
        if self.is_down:
            print(f"tracking: {redact_password(self.uri)} is back; sending continues", file=sys.stderr)
        self.is_down = False


def main() -> None:
    os.nice(10)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _Sender(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).run()


if __name__ == "__main__":
    main()
