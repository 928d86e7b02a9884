"""Where local state lives and which MLflow store it goes to; without importing MLflow."""

import hashlib
import os
import re
import socket
from pathlib import Path
from urllib.parse import unquote

from dcgan.support.errors import UserError
from dcgan.tracking.names import EXPERIMENT, STATE_FOLDER

SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///(?P<path>[^?]+)(?P<query>\?.*)?")

CAUSES = re.compile(
    r"Connection refused|timed out|Name or service not known|No route to host|reset by peer|database is locked"
    r"|\[SSL: \w+\][\w :]*\w"
)


def run_logs_folder(root: Path) -> Path:
    return root / STATE_FOLDER / "run_logs"


def run_logs_lock(root: Path) -> Path:
    """Held while a run log is looked up and created if there is none."""
    return root / STATE_FOLDER / "run_logs.lock"


def clone_id(root: Path) -> str:
    """Tells this clone from others that use the same store: a hash of the machine's name and the folder."""
    return hashlib.sha256(f"{socket.gethostname()}:{root.resolve()}".encode()).hexdigest()[:12]


def store_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in `root`. A relative SQLite path starts at `root`, not at the current folder:
    the folder of a queued experiment is deleted when the experiment ends."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return sqlite_uri(root / path, SQLITE.fullmatch(uri)["query"] or "")


def experiment_name() -> str:
    """The MLflow experiment that runs go to."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def sqlite_path(uri: str) -> Path | None:
    """The database file of `sqlite:///relative` or `sqlite:////absolute`; None for any other store."""
    match = SQLITE.fullmatch(uri)
    return Path(unquote(match["path"])) if match and match["path"] != ":memory:" else None


def sqlite_uri(path: Path, query: str = "") -> str:
    """The address of a SQLite store. A path with "?" or "%" is escaped, and the driver named: otherwise MLflow creates
    folders with the names as escaped."""
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    driver = "sqlite" if escaped == str(path) else "sqlite+pysqlite"
    return f"{driver}:///{escaped}{query}"


def refusal(error: BaseException) -> str | None:
    """What a server that asks for passwords has against the user; None if that is not the reason of the error."""
    match error.get_http_status_code() if hasattr(error, "get_http_status_code") else None:
        case 401:
            return "user or password not accepted: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        case 403:
            return "this user has no permission for it: ask who runs the server (status 403)"
    return None


def redact_password(text: str) -> str:
    """An address, or a text with addresses in it, without user names, passwords and tokens."""
    # Up to the last "@" before the path; the second form is a password that holds a "/" (a port is digits alone)
    text = re.sub(r"//(?:[^\s/?#]*@|[^\s/@:]*:(?!\d+/)[^\s'\"]*@)", "//", text)
    # An ODBC connection string within an address has %3D for "=" and %3B for ";"
    name = r"(?i)(?:\b|(?<=%3B))(password|passwd|pwd|token|secret)"
    return re.sub(rf"{name}(=|%3D)(?:(?!%3B)[^\s&;'\"])*", r"\1\2***", text)


def summarize_error(error: BaseException) -> str:
    """Why a call to a store failed, in a few words and without a password: MLflow's own message is a paragraph."""
    text = redact_password(" ".join(str(error).split()))
    if isinstance(error, UserError):
        return text
    if reason := refusal(error):
        return reason
    if cause := re.search(CAUSES, text):
        return cause[0].lower()
    return f"{type(error).__name__}: {text[:200]}"
