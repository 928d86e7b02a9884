"""Files written whole or not at all, and their hashes."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from dcgan.support.errors import UserError


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` under `path` so that a reader sees the old file or the whole new one, never a part.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide results from other users
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({len(data):,} bytes): {error.strerror}; "
            "free space or make the folder writable, then run again"
        ) from error


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as readable JSON, atomically. NaN and infinity raise ValueError: they are no JSON."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); restore it or make it anew") from error


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
