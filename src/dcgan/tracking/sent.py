"""How much of a run log a store has: a note in the run log's folder for each store that gets it."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from dcgan.support.errors import UserError
from dcgan.support.files import write_json
from dcgan.tracking.locations import experiment_name, run_logs_folder

UNANSWERED_S = 3600.0  # a server that has not carried out a request by then has dropped it


class Unanswered(UserError):
    """A request to create the run was not answered, and no run has appeared yet."""


@dataclass(frozen=True)
class Sent:
    """Only a shortcut: sending everything again duplicates nothing."""

    run_id: str | None = None  # in the store
    size: int = 0  # bytes of events
    requests: int = 0  # to create the run whose outcome is unknown: each may still become a run
    requested: float = 0.0  # time of the last of them, in seconds since 1970

    @property
    def is_settled(self) -> bool:
        """Whether no further run can appear in the store."""
        return not self.requests or abs(time.time() - self.requested) > UNANSWERED_S  # also if the clock was set back


def begin(folder: Path, uri: str) -> None:
    """From now on, stages send the run log in `folder` to this store."""
    if not _note(folder, uri).exists():
        write_sent(folder, uri, Sent())


def read_sent(folder: Path, uri: str) -> Sent:
    """What this store has of the run log in `folder`; nothing, if the note is missing, damaged or does not fit."""
    return _read_note(folder, _note(folder, uri))


def _read_note(folder: Path, note: Path) -> Sent:
    try:
        sent = Sent(**json.loads(note.read_bytes()))
        is_valid = isinstance(sent.run_id, str | None) and sent.size >= 0 and sent.requests >= 0 <= sent.requested
        return sent if is_valid and _ends_a_line(folder / "events.jsonl", sent.size) else Sent()
    except (OSError, ValueError, TypeError, RecursionError):
        return Sent()


def write_sent(folder: Path, uri: str, sent: Sent) -> None:
    write_json(_note(folder, uri), asdict(sent))


def unsent_run_logs(root: Path, uri: str) -> list[Path]:
    """Folders of the run logs with events that this store does not have yet, the last changed first."""
    return [folder for folder in _by_age(root) if _has_whole_line(folder, read_sent(folder, uri).size)]


def pending_run_logs(root: Path, uri: str) -> list[Path]:
    """The unsent ones that were begun for this store: another store gets none of the older runs unasked."""
    return [folder for folder in unsent_run_logs(root, uri) if _note(folder, uri).exists()]


def is_pending_anywhere(folder: Path) -> bool:
    """Whether a store that the run log in `folder` was begun for does not have all of it."""
    return any(_has_whole_line(folder, _read_note(folder, note).size) for note in folder.glob("sent-*.json"))


def unsettled_run_logs(root: Path, uri: str) -> list[Path]:
    """Folders of the run logs of which a second run may still appear in this store."""
    return [folder for folder in _by_age(root) if not read_sent(folder, uri).is_settled]


def _by_age(root: Path) -> list[Path]:
    files = run_logs_folder(root).glob("*/events.jsonl")
    return [path.parent for path in sorted(files, key=_changed, reverse=True)]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # removed in the meantime
        return 0


def _has_whole_line(folder: Path, start: int) -> bool:
    """Whether a whole line follows byte `start`; a last line cut short when its process was killed does not count."""
    try:
        with open(folder / "events.jsonl", "rb") as stream:
            stream.seek(start)
            return b"\n" in stream.read()
    except OSError:
        return (folder / "events.jsonl").exists()  # whoever opens the run log reports why it cannot be read


def _ends_a_line(path: Path, position: int) -> bool:
    with open(path, "rb") as stream:
        stream.seek(max(position - 1, 0))
        return position == 0 or stream.read(1) == b"\n"


def _note(folder: Path, uri: str) -> Path:
    store = f"{uri} {experiment_name()}"
    return folder / f"sent-{hashlib.sha256(store.encode()).hexdigest()[:12]}.json"  # a URI may hold a password
