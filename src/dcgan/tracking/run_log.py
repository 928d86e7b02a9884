"""The local event log of a run. Stages append to it; `dcgan.tracking.mlflow_store` sends it to MLflow, now or later.

A run log is a folder: `events.jsonl`, one JSON object per line and only ever appended to, and `files/`, copies of the
files it refers to (DVC deletes outputs before the next run, and the folders of queued experiments when they end).
Everything is logged once: what the run log already has is skipped, so a resumed training duplicates nothing.
"""

import contextlib
import errno
import fcntl
import io
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic
from dcgan.support.lock import is_at, is_held, share
from dcgan.tracking.events import Event, Key, decode, encode, entries, flatten, to_json_number, to_text
from dcgan.tracking.locations import run_logs_folder, store_uri
from dcgan.tracking.names import PUBLISH_COMMAND
from dcgan.tracking.sent import begin

FINAL = ("FINISHED", "FAILED", "KILLED")
LEGAL_NAME = re.compile(r"[\w\-. /]+")  # of metrics, parameters and tags in MLflow

RESTORED = "restored-"  # ids of run logs made from files that DVC restored, and of their children, start with it


class Damaged(UserError):
    """A run log cannot be read."""


class RunLog:
    """The log of one training, or of a further evaluation of it (then `parent` is the id of the training's run log).

    Any number of processes may write to the same run log: each append is a whole line under a lock, and what others
    have appended is read first.
    """

    def __init__(self, folder: Path) -> None:
        """Read the run log in `folder`; use `RunLog.create` or `RunLog.open`."""
        self.folder = folder
        self.id = folder.name
        self.name, self.started, self.parent = "", 0, None  # `started`: ms since 1970
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.status = "RUNNING"
        self._entries: dict[Key, Any] = {}
        self._read_to = 0
        self._alive = None
        self._read_new_events()

    @classmethod
    def create(
        cls, root: Path, name: str, parent: str | None = None, run_log_id: str | None = None, started: int | None = None
    ) -> "RunLog":
        """Start a run log (`started` in ms since 1970, default now), or continue the one with that id. The present
        store gets it."""
        now = _now() if started is None else started
        run_log = cls(run_logs_folder(root) / (run_log_id or new_run_log_id(now)))
        run_log._append({"event": "run", "name": name, "time": now, "parent": parent})
        begin(run_log.folder, store_uri(root))
        return run_log

    @classmethod
    def open(cls, root: Path, run_log_id: str) -> "RunLog":
        """The existing run log with that id.

        Raises:
            UserError: it does not exist.
            Damaged: it is damaged before its last line, or has a format of another version.
        """
        folder = run_logs_folder(root) / Path(run_log_id).name
        if folder.name != run_log_id or not (folder / "events.jsonl").is_file():
            raise UserError(f"no run log {run_log_id} in {folder.parent}; it was removed, so start another run")
        return cls(folder)

    @classmethod
    def all(cls, root: Path) -> list["RunLog"]:
        """Every run log that was started and can be read, oldest first; `damaged_run_logs` has the others."""
        return _read_all(root)[0]

    @classmethod
    def find(cls, root: Path, tags: Mapping[str, str], parent: str | None = None) -> "RunLog | None":
        """The newest run log with all of these tags and this parent."""
        matching = [log for log in cls.all(root) if log.parent == parent and tags.items() <= log.tags.items()]
        return matching[-1] if matching else None

    # ---- writing ----

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters, nested sections flattened with dots (`train.seed`); values as JSON, strings without quotes.

        Raises:
            ValueError: one is already there with another value. MLflow does not allow a second value either.
        """
        self._append({"event": "params", "values": flatten(params)})

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Tags; the last value counts."""
        self._append({"event": "tags", "values": {key: to_text(value) for key, value in tags.items()}})

    def log_points(self, values: Mapping[str, float], step: int) -> None:
        """One point of each series at `step`. A (series, step) that is already there is skipped."""
        points = {key: to_json_number(value) for key, value in values.items()}
        self._append({"event": "points", "step": int(step), "time": _now(), "values": points})

    def log_image(self, key: str, path: str | os.PathLike, step: int) -> None:
        """A PNG of the series `key`; MLflow shows such a series with a slider over the steps."""
        self._append({"event": "image", "key": key, "step": int(step), "time": _now(), "file": self._copy_file(path)})

    def log_file(self, path: str | os.PathLike, folder: str = "") -> None:
        """A file, under its own name in the artifact folder `folder`."""
        self._append({"event": "file", "folder": folder, "file": self._copy_file(path)})

    def log_dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """A data set by name and digest (hexadecimal, the first 32 characters are kept); `context`: e.g. "training"."""
        self._append({"event": "dataset", "name": name, "digest": digest[:32], "source": source, "context": context})

    def log_model(self, name: str, digest: str, files: Mapping[str, Path], description: Mapping[str, Any]) -> None:
        """A model that MLflow can serve, with the code that runs it: what an experiment changed may be gone by the
        time it is sent.

        Args:
            name: of the registered model.
            digest: SHA-256 of the weights.
            files: path in the model's folder -> file.
            description: the other fields of the event "model" (`dcgan.tracking.events`).
        """
        copies = {place: self._copy_file(path) for place, path in files.items()}
        self._append({"event": "model", "name": name, "sha256": digest, "files": copies, **description})

    def finish(self, status: str) -> None:
        """End with FINISHED, FAILED or KILLED; `resume` undoes it."""
        if status not in FINAL:
            raise ValueError(f"status is {status!r}; allowed are {', '.join(FINAL)}")
        self._append({"event": "status", "status": status, "time": _now()})
        self.sync()

    def resume(self) -> None:
        """RUNNING again after an end."""
        self._append({"event": "status", "status": "RUNNING", "time": _now()})

    def sync(self) -> None:
        """Flush to disk, to survive a power loss. Call it before writing a checkpoint: a run resumed from that
        checkpoint does not log the earlier points again."""
        with open(self._events_file, "rb") as stream:
            os.fsync(stream.fileno())

    # ---- reading ----

    @property
    def root(self) -> Path:
        """The repository that it belongs to."""
        return self.folder.parents[2]

    @property
    def is_alive(self) -> bool:
        """Whether a living process (this one included) has written to it and not ended since."""
        return is_held(self._alive_file)

    @property
    def is_restored(self) -> bool:
        """Whether it was made from files alone, so that another clone may have logged the same model."""
        return self.id.startswith(RESTORED)

    def logged(self, kind: str) -> set[Key]:
        """Keys of what was logged of one kind: ("image", series, step), ("file", artifact path), ("point", ...)..."""
        return {key for key in self._entries if key[0] == kind}

    def value(self, *key: Any) -> Any:
        """What was logged under a key, for instance `value("point", "eval/fid", 0)`; None if nothing was."""
        return self._entries.get(key)

    def model(self, name: str) -> Event | None:
        """The event of the last model with that name."""
        found = [event for event, _ in self.events() if event["event"] == "model" and event["name"] == name]
        return found[-1] if found else None

    def copied_file(self, place: str) -> Path:
        """The copy of a logged file; `place` as in the event.

        Raises:
            UserError: it is missing, or elsewhere. Whoever copies a run log by hand must not send other files with it.
        """
        path = self.folder / place
        if not path.resolve().is_relative_to((self.folder / "files").resolve()):
            raise UserError(
                f"run log {self.id} names the file {place!r}; only files in {self.folder / 'files'} are sent, so move "
                "the run log away"
            )
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise UserError(f"the logged file {path} is missing or unreadable; restore it, or move its run log away")
        return path

    def size(self) -> int:
        """Bytes of whole lines."""
        return self._read_to

    def events(self, start: int = 0) -> Iterator[tuple[Event, int]]:
        """Whole events from byte `start` on, each with the position of its end."""
        position = start
        for line in self._lines(start):
            if not line.endswith(b"\n"):
                return  # still being written, or cut short by a kill: removed by the next append
            position += len(line)
            yield self._decode(line, position), position

    # ---- internals ----

    @property
    def _events_file(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def _alive_file(self) -> Path:
        return self.folder / "alive.lock"

    def _lines(self, start: int) -> Iterator[bytes]:
        try:
            with contextlib.suppress(FileNotFoundError), open(self._events_file, "rb") as stream:
                stream.seek(start)
                yield from stream
        except OSError as error:
            raise Damaged(
                f"cannot read {self._events_file}: {error.strerror}; make it readable or move it away"
            ) from error

    def _decode(self, line: bytes, position: int) -> Event:
        try:
            return decode(line)
        except ValueError as error:
            raise Damaged(
                f"{self._events_file} is damaged before byte {position:,} or comes from another version ({error}); "
                f"move its folder away and run `{PUBLISH_COMMAND}`, which logs the files in the workspace again"
            ) from error

    def _append(self, event: Event) -> None:
        """Append the new part of `event` as one whole line; a full disk leaves the file as it was."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._alive is None or not is_at(self._alive, self._alive_file):  # first event, or the file was deleted
                self._alive = share(self._alive_file)
            with open(self._events_file, "ab", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                self._read_new_events()
                os.truncate(self._events_file, self._read_to)  # remove a last line that was cut short
                if (new := self._new_part(event)) is not None:
                    self._write_line(stream, encode(new))
                    self._read_new_events()
        except OSError as error:
            raise UserError(
                f"cannot write {self._events_file}: {error.strerror}; "
                "free space or make the folder writable, then run again"
            ) from error

    def _write_line(self, stream: io.RawIOBase, line: bytes) -> None:
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.truncate(self._events_file, self._read_to)
            raise

    def _read_new_events(self) -> None:
        for event, end in self.events(self._read_to):
            self._entries.update(entries(event))
            self._read_to = end
            match event:
                case {"event": "run"}:
                    self.name, self.started, self.parent = event["name"], event["time"], event["parent"]
                case {"event": "params"}:
                    self.params.update(event["values"])
                case {"event": "tags"}:
                    self.tags.update(event["values"])
                case {"event": "status"}:
                    self.status = event["status"]

    def _new_part(self, event: Event) -> Event | None:
        """The event without what the run log already has; None if nothing is left."""
        new = {key: value for key, value in entries(event).items() if self._is_new(key, value)}
        if new and "values" in event:
            return {**event, "values": {key[1]: value for key, value in new.items()}}
        return event if new else None

    def _is_new(self, key: Key, value: Any) -> bool:
        kind, *name = key
        if kind in ("param", "tag", "point") and not LEGAL_NAME.fullmatch(name[0]):
            raise ValueError(f"the name {name[0]!r} is not allowed; use letters, digits, _ - . / and spaces")
        if key not in self._entries:
            return True
        if kind == "param" and self._entries[key] != value:
            raise ValueError(f"parameter {name[0]} is {self._entries[key]} in run log {self.id}, not {value}")
        return kind in ("tag", "file", "model", "status") and self._entries[key] != value

    def _copy_file(self, path: str | os.PathLike) -> str:
        """Copy a file into the run log, under its hash; returns the copy's path relative to the run log.

        The copy is read-only: a local store has hard links to it.
        """
        place = f"files/{sha256(path)[:16]}/{Path(path).name}"
        copy = self.folder / place
        if not copy.exists():
            write_atomic(copy, Path(path).read_bytes())
            copy.chmod(0o444)
        return place


def damaged_run_logs(root: Path) -> list[Damaged]:
    """Why some run logs cannot be read."""
    return _read_all(root)[1]


def _read_all(root: Path) -> tuple[list[RunLog], list[Damaged]]:
    found, damaged = [], []
    for path in sorted(run_logs_folder(root).glob("*/events.jsonl")):
        try:
            found.append(RunLog(path.parent))
        except Damaged as error:
            damaged.append(error)
    started = [run_log for run_log in found if run_log.started]
    return sorted(started, key=lambda run_log: (run_log.started, run_log.id)), damaged


def new_run_log_id(started: int | None = None) -> str:
    """A unique id; `started` in ms since 1970, default now."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime((_now() if started is None else started) / 1000))
    return f"{stamp}-{secrets.token_hex(3)}"


def _now() -> int:
    return time.time_ns() // 1_000_000
