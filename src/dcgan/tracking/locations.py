"""Where local state lives, which MLflow store it goes to, and how much of it was sent; without importing MLflow."""

import hashlib
import json
import os
import re
from pathlib import Path

from dcgan.support.files import write_json
from dcgan.tracking.names import STATE_FOLDER


def run_logs_folder(root: Path) -> Path:
    return root / STATE_FOLDER / "run_logs"


def run_logs_lock(root: Path) -> Path:
    """Held while a run log is looked up and created if there is none."""
    return root / STATE_FOLDER / "run_logs.lock"


def store_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in `root`. A relative SQLite path starts at `root`, not at the current folder:
    the folder of a queued experiment is deleted when the experiment ends."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    return f"sqlite:///{root / path}" if path else uri


def sqlite_path(uri: str) -> Path | None:
    """The database file of `sqlite:///relative` or `sqlite:////absolute`; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def redact_password(uri: str) -> str:
    """The address without user name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def read_sent(folder: Path, uri: str) -> tuple[str | None, int]:
    """How much of the run log in `folder` this store already has: the run's id there and the bytes of events sent.

    Only a shortcut: without it everything is sent again, which duplicates nothing.
    """
    try:
        sent = json.loads(_sent_file(folder, uri).read_text())
        return sent["run_id"], sent["sent"]
    except FileNotFoundError:
        return None, 0


def write_sent(folder: Path, uri: str, run_id: str | None, sent: int) -> None:
    write_json(_sent_file(folder, uri), {"run_id": run_id, "sent": sent})


def unsent_run_logs(root: Path, uri: str) -> list[Path]:
    """Folders of the run logs with events that this store does not have yet, the last changed first."""
    files = sorted(run_logs_folder(root).glob("*/events.jsonl"), key=lambda path: -path.stat().st_mtime_ns)
    return [path.parent for path in files if _has_whole_line(path, read_sent(path.parent, uri)[1])]


def summarize_error(error: BaseException) -> str:
    """Why a call to a store failed, in a few words: MLflow's own message is a paragraph."""
    text = " ".join(str(error).split())
    causes = r"Connection refused|timed out|Name or service not known|No route to host|reset by peer"
    if cause := re.search(causes, text):
        return cause[0].lower()
    return f"{type(error).__name__}: {text[:200]}"


def _has_whole_line(path: Path, start: int) -> bool:
    """Whether a whole line follows byte `start`; a last line cut short when its process was killed does not count."""
    with open(path, "rb") as stream:
        stream.seek(start)
        return b"\n" in stream.read()


def _sent_file(folder: Path, uri: str) -> Path:
    return folder / f"sent-{hashlib.sha256(uri.encode()).hexdigest()[:12]}.json"  # a URI may hold a password
