"""Where local state lives and which MLflow store it is sent to, without importing MLflow."""

import hashlib
import json
import os
import re
from pathlib import Path

from dcgan.support.files import write_json


def run_logs_folder(root: Path) -> Path:
    return root / ".dcgan" / "run_logs"


def store_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in `root`. A relative SQLite path is taken from `root`, not from the current
    folder: a queued experiment's folder is deleted when it ends."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    return f"sqlite:///{root / path}" if path else uri


def sqlite_path(uri: str) -> Path | None:
    """The database file of `sqlite:///relative` or `sqlite:////absolute`; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def redact_password(uri: str) -> str:
    """The address without a password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def read_sent(folder: Path, uri: str) -> tuple[str | None, int]:
    """How much of the record in `folder` this store already has: its run id there and the bytes of events sent.

    Only a shortcut: without it everything is sent again, and nothing doubles.
    """
    try:
        note = json.loads(_sent_file(folder, uri).read_text())
        return note["run_id"], note["sent"]
    except FileNotFoundError:
        return None, 0


def write_sent(folder: Path, uri: str, run_id: str | None, sent: int) -> None:
    write_json(_sent_file(folder, uri), {"run_id": run_id, "sent": sent})


def pending(root: Path, uri: str) -> list[Path]:
    """Folders of the records with something that this store does not have yet, the last changed first."""
    files = sorted(run_logs_folder(root).glob("*/events.jsonl"), key=lambda path: -path.stat().st_mtime_ns)
    return [path.parent for path in files if _has_lines(path, read_sent(path.parent, uri)[1])]


def reason(error: BaseException) -> str:
    """Why a call failed, in a few words: MLflow's own message is a paragraph."""
    text = " ".join(str(error).split())
    causes = r"Connection refused|timed out|Name or service not known|No route to host|reset by peer"
    if cause := re.search(causes, text):
        return cause[0].lower()
    return f"{type(error).__name__}: {text[:200]}"


def _has_lines(path: Path, start: int) -> bool:
    """Whether a whole line follows; the torn end of a killed process's last one does not count."""
    with open(path, "rb") as stream:
        stream.seek(start)
        return b"\n" in stream.read()


def _sent_file(folder: Path, uri: str) -> Path:
    return folder / f"sent-{hashlib.sha256(uri.encode()).hexdigest()[:12]}.json"  # a URI may hold a password
