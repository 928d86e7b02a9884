"""Atomic writes, JSON and YAML files, and hashes of files."""

import glob
import hashlib
import json
import os
import re
import secrets
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcgan.support.errors import UserError

STALE_S = 3600  # age of a temporary file that no living process can still be writing


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees either the old file or the complete new one.

    Missing folders are created. A link is replaced, not written through. Killed in the middle, it leaves a temporary
    file beside `path`: Git ignores those (`.*.tmp-*`), and a later write of the same path removes old ones.

    Raises:
        UserError: the disk is full, the folder is not writable, or `path` is a device, pipe or folder; the old file, if
            any, is unchanged, and no partial file is left behind.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is not a regular file; choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_temporary_prefix(path))
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)  # mkstemp creates 0600, which other users cannot read
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({len(data):,} bytes): {error.strerror}; "
            "free space or make the folder writable, then run again"
        ) from error


def hard_link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, atomically. Whoever writes into one of them in place changes both.

    Raises:
        OSError: it is impossible, as on another file system; `target` is as it was.
    """
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = source.with_name(f"{_temporary_prefix(source)}{secrets.token_hex(4)}")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}.tmp-"


def _remove_stale(path: Path) -> None:
    for left in path.parent.glob(f"{glob.escape(_temporary_prefix(path))}*"):
        with suppress(OSError):  # another process removed it, or it belongs to another user
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are not valid JSON and raise ValueError."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); restore the file or create it again") from error


def read_yaml(path: str | os.PathLike) -> Any:
    """Read a YAML file as DVC does: YAML 1.2, so that 5e-05 and 1e+16 are numbers and a doubled key is an error.

    Raises:
        UserError: the file is missing, unreadable or not YAML.
    """
    try:
        text = _read_text(path)
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML ({error}); correct or restore the file") from error
    return parse_yaml(text, path)


def parse_yaml(text: str, source: str | os.PathLike) -> Any:
    """The value of a text in YAML 1.2; `source` names it in messages.

    Raises:
        UserError: it is not YAML.
    """
    from ruamel.yaml import YAML, YAMLError  # comes with DVC, and not everything here needs DVC

    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source} is not valid YAML ({reason}{line}); correct or restore the file") from error


def _read_text(path: str | os.PathLike) -> str:
    """The text of a file in Git, which may have the markers of a conflict. Bytes that are not UTF-8: ValueError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if conflict := re.search(r"^(<<<<<<< |>>>>>>> )", text, re.MULTILINE):
        line = text.count("\n", 0, conflict.start()) + 1
        raise UserError(f"{path} has the markers of a merge conflict (line {line}); resolve it, then run again")
    return text


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserError: the file is missing or unreadable.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
