"""Copies of a node's local state, run logs and checkpoints, with the driver: another node goes on from them.

Only the driver's copy of a run log is sent to the tracking store, and a new attempt starts from that copy. So a point
that is in the store is never logged again, whatever a lost node knew.

What is read later is never behind what was read before: a checkpoint is read before the run log, whose points it
assumes, and that before the files that it names. They are written in the opposite order.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dcgan.support.files import write_atomic
from dcgan.support.lock import share

CHECKPOINTS, RUN_LOGS = "runs", "run_logs"  # folders of the local state
RUN_LOG_ID = "run_log"  # file beside the checkpoints of a training: the id of its run log
# A note that its workspace has all outputs is of no use elsewhere: from the last checkpoint they are written again
LEFT_OUT = ("finished.json", "alive.lock", "publishing.lock")
LEFT_OUT_PREFIXES = ("sent-", ".")


@dataclass(frozen=True)
class Changes:
    files: dict[str, bytes]  # path in the local state -> content, in the order to write them
    removed: tuple[str, ...] = ()


class Mirror:
    """Watches the local state of one attempt."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._seen: dict[str, tuple[int, int]] = {}
        self.changes()  # what the attempt began with

    def changes(self) -> Changes:
        """What has changed since the last call."""
        found = [(path, _stamp(path)) for path in _in_reading_order(self._state)]
        new = {str(path.relative_to(self._state)): (path, stamp) for path, stamp in found if stamp}
        changed = [name for name, (_, stamp) in new.items() if self._seen.get(name) != stamp]
        removed = tuple(name for name in self._seen if name not in new)
        contents = {name: content for name in changed if (content := _read(new[name][0])) is not None}
        self._seen = {name: stamp for name, (_, stamp) in new.items() if name not in changed or name in contents}
        return Changes(dict(reversed(contents.items())), removed)


class Copies:
    """The driver's copies: run logs where its own are, checkpoints in a folder for each experiment."""

    def __init__(self, state: Path, folder: Path, on_run_log: Callable[[Path], None]) -> None:
        """`on_run_log`: called with the folder of a run log that is new here."""
        self._state, self._folder, self._on_run_log = state, folder, on_run_log
        self._alive: dict[Path, BinaryIO] = {}  # locks that tell others that a run log's process lives

    def apply(self, experiment: str, changes: Changes) -> None:
        for name, content in changes.files.items():
            write_atomic(self._place(experiment, name), content)
            if name.startswith(RUN_LOGS):
                self._note(self._state / RUN_LOGS / Path(name).parts[1])
        for name in changes.removed:
            if name.startswith(CHECKPOINTS):
                self._place(experiment, name).unlink(missing_ok=True)

    def read(self, experiment: str) -> Changes:
        """All that an attempt goes on from."""
        checkpoints = self._folder / experiment
        ids = [path.read_text() for path in checkpoints.glob(f"{CHECKPOINTS}/*/{RUN_LOG_ID}")]
        paths = [(path, self._state) for id in ids for path in _in_reading_order(self._state, f"{RUN_LOGS}/{id}")]
        paths += [(path, checkpoints) for path in _in_reading_order(checkpoints)]
        return Changes({str(path.relative_to(base)): path.read_bytes() for path, base in paths})

    def forget(self, experiment: str) -> None:
        """Remove its checkpoints; run logs stay."""
        shutil.rmtree(self._folder / experiment, ignore_errors=True)

    def _place(self, experiment: str, name: str) -> Path:
        return (self._state if name.startswith(RUN_LOGS) else self._folder / experiment) / name

    def _note(self, run_log: Path) -> None:
        if run_log not in self._alive and (run_log / "events.jsonl").exists():
            self._alive[run_log] = share(run_log / "alive.lock")
            self._on_run_log(run_log)

    def close(self) -> None:
        for lock in self._alive.values():
            lock.close()


def _in_reading_order(state: Path, run_log: str = f"{RUN_LOGS}/*") -> Iterator[Path]:
    for pattern in (f"{CHECKPOINTS}/*/*", f"{run_log}/events.jsonl", f"{run_log}/files/*/*"):
        for path in sorted(state.glob(pattern)):
            if path.is_file() and path.name not in LEFT_OUT and not path.name.startswith(LEFT_OUT_PREFIXES):
                yield path


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # an old checkpoint
        return None
