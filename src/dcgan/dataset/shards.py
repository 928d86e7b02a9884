"""Which rows are in which shard, and the record of those that are finished.

The record, `.shards.jsonl`, begins with what was asked for. Each finished shard then adds a line with the SHA-256 of
what was written, in the order of the rows. So a killed process leaves a record of whole shards, at worst with one torn
line at its end.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan.dataset.digits import Split
from dcgan.support.errors import UserError

SHARD = 10_000  # rows; a multiple of digits.BLOCK. A kill costs at most the work on one shard.
RECORD = ".shards.jsonl"
LOCK = ".lock"


@dataclass(frozen=True)
class Shard:
    split: Split
    index: int
    of: int  # number of shards in this split
    first: int  # row
    rows: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.of:05d}"


def shards_of(counts: dict[Split, int]) -> list[Shard]:
    """The shards of each split, in order; all but the last of a split have `SHARD` rows."""
    found = []
    for split, count in counts.items():
        starts = range(0, count, SHARD)
        found += [Shard(split, i, len(starts), first, min(SHARD, count - first)) for i, first in enumerate(starts)]
    return found


def check_folder(folder: Path) -> None:
    """Raise UserError unless the folder is new or empty, or has a data set that was begun."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a new or empty folder")
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in found if name not in (LOCK, f".{RECORD}.unfinished")]
    if others and RECORD not in found:
        raise UserError(
            f"{folder} has other files ({', '.join(others[:3])}) and no data set that this command began; "
            "choose a new or empty folder"
        )


class Record:
    """The finished shards of a folder: relative path -> SHA-256, by name of the shard."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        """Begin a folder, or continue one that was begun with the same arguments.

        Raises:
            UserError: the folder was begun with other arguments, or its record is damaged.
        """
        self.path = folder / RECORD
        self._offsets: dict[str, tuple[int, int]] = {}  # name of a shard -> position and length of its line
        if not self.path.exists():
            replace_file(self.path, _line({"asked": asked}))
        self._read(asked)
        self._handle = os.open(self.path, os.O_RDWR)
        os.truncate(self._handle, self._end)  # without a torn line

    def files(self, shard: Shard) -> dict[str, str] | None:
        """Relative path -> SHA-256 of what this shard wrote, or None if it has not been finished."""
        if shard.name not in self._offsets:
            return None
        position, length = self._offsets[shard.name]
        return json.loads(os.pread(self._handle, length, position))["files"]

    def add(self, shard: Shard, files: dict[str, str]) -> None:
        line = _line({"shard": shard.name, "files": files})
        with explain_write_errors(self.path):
            if os.pwrite(self._handle, line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        self._offsets[shard.name] = (self._end, len(line))
        self._end += len(line)

    def close(self) -> None:
        os.close(self._handle)

    def _read(self, asked: dict[str, Any]) -> None:
        self._end = 0
        try:
            for line in _whole_lines(self.path):
                entry = json.loads(line)
                if self._end == 0:
                    _check_same(self.path.parent, entry["asked"], asked)
                else:
                    self._offsets[entry["shard"]] = (self._end, len(line))
                self._end += len(line)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is damaged; delete {self.path.parent} and begin again") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield line


def _line(entry: dict) -> bytes:
    return (json.dumps(entry) + "\n").encode()


def _check_same(folder: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    changed = [key for key in asked if begun.get(key) != asked[key]]
    if changed:
        differences = ", ".join(f"{key} {_shown(begun.get(key))}, not {_shown(asked[key])}" for key in changed)
        raise UserError(
            f"{folder} was begun with other arguments: {differences}; give the same to continue it, or choose another "
            "folder"
        )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value[:8]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def replace_file(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file under another name, then rename it. What a kill leaves is overwritten by the next attempt.

    Args:
        durable: wait until the disk has it. Takes milliseconds, which is too long for one digit.

    Raises:
        UserError: the disk is full, or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.unfinished")
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or make the folder writable, then run the same command "
            "again: finished shards are kept"
        ) from error
