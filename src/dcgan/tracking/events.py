"""The format of a run log: one event per line as a JSON object, and the entries that an event adds.

An entry is what is logged only once, such as ("point", "train/loss_g", 64) with its value. Numbers that are not finite
are stored as the strings "nan", "inf" and "-inf": JSON does not have them, and `float` reads them back.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Any

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
NOT_FINITE = ("nan", "inf", "-inf")
Event = dict[str, Any]
FIELDS: dict[str, dict[str, type | UnionType]] = {
    "run": {"name": str, "time": int, "parent": str | None},
    "params": {"values": dict},
    "tags": {"values": dict},
    "points": {"step": int, "time": int, "values": dict},
    "image": {"key": str, "step": int, "time": int, "file": str},
    "file": {"folder": str, "file": str},
    "dataset": {"name": str, "digest": str, "source": str, "context": str},
    "model": {
        "name": str,
        "sha256": str,  # of the weights
        "files": dict,  # path in the model's folder -> copy
        "entry": str,  # path of the code file that MLflow runs
        "weights": dict,  # name that the code asks for -> path
        "signature": dict,
        "example": list,
        "requirements": list,
        "python": str,
    },
    "status": {"status": str, "time": int},
}
Key = tuple  # ("param", name), ("tag", name), ("point", series, step), ("image", series, step), ("file", path)...


def decode(line: bytes) -> Event:
    """The event in a line.

    Raises:
        ValueError: the line is not JSON, or not an event that this version knows.
    """
    try:
        event = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entries(event)
    return event


def encode(event: Event) -> bytes:
    return (json.dumps(event, allow_nan=False) + "\n").encode()


def entries(event: Event) -> dict[Key, Any]:
    """What an event logs, by key.

    Raises:
        ValueError: the event is not one that this version knows.
    """
    if not _is_known(event):
        raise ValueError(f"unknown event {json.dumps(event)[:80]}")
    match event["event"]:
        case "run":
            return {("run",): event["name"]}
        case "params":
            return {("param", name): value for name, value in event["values"].items()}
        case "tags":
            return {("tag", name): value for name, value in event["values"].items()}
        case "points":
            return {("point", series, event["step"]): value for series, value in event["values"].items()}
        case "image":
            return {("image", event["key"], event["step"]): event["file"]}
        case "file":
            return {("file", f"{event['folder']}/{Path(event['file']).name}".lstrip("/")): event["file"]}
        case "dataset":
            return {("dataset", event["name"], event["digest"]): event["context"]}
        case "model":
            return {("model", event["name"]): event["sha256"]}
        case "status":
            return {("status",): event["status"]}


def _is_known(event: Any) -> bool:
    """Whether it has a known name, and the fields and types that go with it."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str) or event["event"] not in FIELDS:
        return False
    fields = FIELDS[event["event"]]
    if any(name not in event or not isinstance(event[name], kind) for name, kind in fields.items()):
        return False
    match event["event"]:
        case "params" | "tags":
            return all(isinstance(value, str) for value in event["values"].values())
        case "points":
            return all(type(value) in (int, float) or value in NOT_FINITE for value in event["values"].values())
        case "file":
            return _is_inside(event["folder"])
        case "model":
            return all(isinstance(copy, str) and _is_inside(place) for place, copy in event["files"].items())
        case "status":
            return event["status"] in STATUSES
    return True


def _is_inside(place: str) -> bool:
    """Whether a relative path stays in its folder."""
    path = PurePosixPath(place)
    return not path.is_absolute() and ".." not in path.parts


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one with dotted keys and text values."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = to_text(value)
    return flat


def to_text(value: Any) -> str:
    """A parameter or tag as text: strings as they are, everything else as JSON."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a schema may turn 10000 from params.yaml into 10000.0: one text for both
    return value if isinstance(value, str) else json.dumps(value)


def to_json_number(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else repr(number)
