"""What a stage has to tell, appended to a local file; `dcgan.tracking.mlflow_store` sends it to MLflow, now or later.

A record is a folder: `events.jsonl`, one JSON object a line, only ever appended to, and `files/`, copies of the small
files it speaks of (outputs are deleted by DVC before the next run, folders of queued experiments at their end).
An event is told once: what the record already has is passed over, so a resumed training doubles nothing.
Numbers that are not finite stand as the strings "nan", "inf", "-inf": they are no JSON, and `float` reads them back.
"""

import contextlib
import fcntl
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic
from dcgan.support.lock import is_held, share
from dcgan.tracking.locations import run_logs_folder

FINAL = ("FINISHED", "FAILED", "KILLED")
LEGAL_NAME = re.compile(r"[\w\-. /]+")  # of metrics, parameters and tags in MLflow

RESTORED = "restored-"  # begins the ids of records made from files that DVC brought, and of their children

Event = dict[str, Any]


class RunLog:
    """One training, or one further evaluation of it (then `parent` is the training's record id).

    Any number of processes may write to the same record: each append is a whole line under a lock, and what another
    one has told meanwhile is read first.
    """

    def __init__(self, folder: Path) -> None:
        """Read what the folder holds; `RunLog.create` and `RunLog.open` are the ways in."""
        self.folder = folder
        self.id = folder.name
        self.name, self.started, self.parent = "", 0, None  # `started`: ms since 1970
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.status = "RUNNING"
        self._known: dict[tuple, Any] = {}  # what has been told: fact -> value
        self._read_to = 0
        self._alive = None
        self._catch_up()

    @classmethod
    def create(
        cls, root: Path, name: str, parent: str | None = None, run_log_id: str | None = None, started: int | None = None
    ) -> "RunLog":
        """Start a record; `started` is in ms since 1970, now if not given. An id that exists is joined."""
        now = _now() if started is None else started
        record = cls(run_logs_folder(root) / (run_log_id or new_run_log_id(now)))
        record._append({"event": "run", "name": name, "time": now, "parent": parent})
        return record

    @classmethod
    def open(cls, root: Path, run_log_id: str) -> "RunLog":
        """The record of that id, to be continued.

        Raises:
            UserError: there is none, or its file is damaged before the last line.
        """
        folder = run_logs_folder(root) / run_log_id
        if not (folder / "events.jsonl").is_file():
            raise UserError(f"no record {run_log_id} in {folder.parent}; it was removed, so tell it to a new one")
        return cls(folder)

    @classmethod
    def all(cls, root: Path) -> list["RunLog"]:
        """Every record that was begun, oldest first."""
        found = [cls(path.parent) for path in run_logs_folder(root).glob("*/events.jsonl")]
        return sorted((record for record in found if record.started), key=lambda record: (record.started, record.id))

    @classmethod
    def find(cls, root: Path, tags: Mapping[str, str], parent: str | None = None) -> "RunLog | None":
        """The newest record with all of these tags and this parent."""
        fitting = [
            record for record in cls.all(root) if record.parent == parent and tags.items() <= record.tags.items()
        ]
        return fitting[-1] if fitting else None

    # ---- telling ----

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters, nested sections flattened with dots (`train.seed`); values as JSON writes them, strings bare.

        Raises:
            ValueError: one is already there with another value. MLflow knows no second value either.
        """
        self._append({"event": "params", "values": flatten(params)})

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Tags; the last value counts."""
        self._append({"event": "tags", "values": {key: _text(value) for key, value in tags.items()}})

    def log_points(self, values: Mapping[str, float], step: int) -> None:
        """One point of each series at `step`. A (series, step) that is already there is passed over."""
        points = {key: _number(value) for key, value in values.items()}
        self._append({"event": "points", "step": int(step), "time": _now(), "values": points})

    def log_image(self, key: str, path: str | os.PathLike, step: int) -> None:
        """A PNG of the series `key`; the UI shows such series with a slider over the steps."""
        self._append({"event": "image", "key": key, "step": int(step), "time": _now(), "file": self._keep(path)})

    def log_file(self, path: str | os.PathLike, folder: str = "") -> None:
        """A file, under its own name in the artifact folder `folder`."""
        self._append({"event": "file", "folder": folder, "file": self._keep(path)})

    def log_dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """A data set by name and digest (hexadecimal, 32 characters shown), `context` as in "training"."""
        self._append({"event": "dataset", "name": name, "digest": digest[:32], "source": source, "context": context})

    def finish(self, status: str) -> None:
        """End with FINISHED, FAILED or KILLED; `resume` takes it back."""
        if status not in FINAL:
            raise ValueError(f"status {status!r} is none of {FINAL}")
        self._append({"event": "status", "status": status, "time": _now()})
        self.sync()

    def resume(self) -> None:
        """The work goes on after an end: RUNNING again."""
        self._append({"event": "status", "status": "RUNNING", "time": _now()})

    def sync(self) -> None:
        """Onto the disk, to outlive a power loss. Before a checkpoint is written, or it would know of lost points."""
        with open(self._events, "rb") as stream:
            os.fsync(stream.fileno())

    # ---- reading ----

    @property
    def is_alive(self) -> bool:
        """Whether a living process (this one included) has written to it and not yet ended."""
        return is_held(self.folder / "alive.lock")

    @property
    def is_restored(self) -> bool:
        """Whether it was told from files alone, so that another clone may have told of the same model."""
        return self.id.startswith(RESTORED)

    def told(self, kind: str) -> set[tuple]:
        """What has been told of one kind: ("image", key, step), ("file", artifact path), ("point", key, step)..."""
        return {fact for fact in self._known if fact[0] == kind}

    def value(self, *fact: Any) -> Any:
        """The value of one fact, for instance `value("point", "eval/fid", 0)`; None if it was not told."""
        return self._known.get(fact)

    def size(self) -> int:
        """Bytes of whole lines."""
        return self._read_to

    def events(self, start: int = 0) -> Iterator[tuple[Event, int]]:
        """Whole events from byte `start` on, each with the position of its end."""
        with contextlib.suppress(FileNotFoundError), open(self._events, "rb") as stream:
            stream.seek(start)
            position = start
            for line in stream:
                if not line.endswith(b"\n"):
                    return  # still being written, or torn by a kill: cut off by the next append
                position += len(line)
                yield self._decode(line, position), position

    # ---- inside ----

    @property
    def _events(self) -> Path:
        return self.folder / "events.jsonl"

    def _decode(self, line: bytes, position: int) -> Event:
        try:
            return json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{self._events} is damaged before byte {position:,} ({error}); move its folder away and run "
                "`dcgan publish`, which tells what the workspace's files say"
            ) from error

    def _append(self, event: Event) -> None:
        """Add what is new in `event` as one whole line; a full disk leaves the file as it was."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._alive is None:
                self._alive = share(self.folder / "alive.lock")
            with open(self._events, "ab", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                self._catch_up()
                os.truncate(self._events, self._read_to)  # a torn last line
                if (fresh := self._without_known(event)) is None:
                    return
                line = (json.dumps(fresh, allow_nan=False) + "\n").encode()
                try:
                    if stream.write(line) != len(line):
                        raise OSError(28, "No space left on device")
                except OSError:
                    os.truncate(self._events, self._read_to)
                    raise
                self._catch_up()
        except OSError as error:
            raise UserError(
                f"cannot write {self._events}: {error.strerror}; free space or make the folder writable, then run again"
            ) from error

    def _catch_up(self) -> None:
        for event, end in self.events(self._read_to):
            self._known.update(_facts(event))
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

    def _without_known(self, event: Event) -> Event | None:
        """The part of the event that the record does not have yet."""
        kind = event["event"]
        if kind in ("params", "tags", "points"):
            fresh = {key: value for key, value in event["values"].items() if self._is_new(_fact(event, key), value)}
            return {**event, "values": fresh} if fresh else None
        ((fact, value),) = _facts(event).items()
        return event if self._is_new(fact, value) else None

    def _is_new(self, fact: tuple, value: Any) -> bool:
        kind, *name = fact
        if kind in ("param", "tag", "point") and not LEGAL_NAME.fullmatch(name[0]):
            raise ValueError(f"{name[0]!r} is no legal name: letters, digits, _ - . space and / only")
        if fact not in self._known:
            return True
        if kind == "param" and self._known[fact] != value:
            raise ValueError(f"parameter {name[0]} is {self._known[fact]} in record {self.id}, not {value}")
        return kind in ("tag", "file", "status") and self._known[fact] != value

    def _keep(self, path: str | os.PathLike) -> str:
        """Copy a file into the record, under its hash; returns its place there."""
        place = f"files/{sha256(path)[:16]}/{Path(path).name}"
        if not (self.folder / place).exists():
            write_atomic(self.folder / place, Path(path).read_bytes())
        return place


def new_run_log_id(started: int | None = None) -> str:
    """An id nobody has; `started` in ms since 1970, now if not given."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime((_now() if started is None else started) / 1000))
    return f"{stamp}-{secrets.token_hex(3)}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one with dotted keys and text values."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _text(value)
    return flat


def _fact(event: Event, key: str) -> tuple:
    return ("point", key, event["step"]) if event["event"] == "points" else (event["event"].removesuffix("s"), key)


def _facts(event: Event) -> dict[tuple, Any]:
    """What an event tells, each fact with its value; equal facts are told once."""
    match event["event"]:
        case "params" | "tags" | "points":
            return {_fact(event, key): value for key, value in event["values"].items()}
        case "image":
            return {("image", event["key"], event["step"]): event["file"]}
        case "file":
            return {("file", f"{event['folder']}/{Path(event['file']).name}".lstrip("/")): event["file"]}
        case "dataset":
            return {("dataset", event["name"], event["digest"]): event["context"]}
        case "status":
            return {("status",): event["status"]}
        case "run":
            return {("run",): event["name"]}
    raise UserError(f"unknown event {event['event']!r} in a record: written by a newer version? update the checkout")


def _number(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 10000 in params.yaml may come as 10000.0 out of its schema: one text for both
    return value if isinstance(value, str) else json.dumps(value)


def _now() -> int:
    return time.time_ns() // 1_000_000
