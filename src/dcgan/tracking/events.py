"""The format of a run log: one event per line as a JSON object, and the entries that an event adds.

An entry is what is logged only once, such as ("point", "train/loss_g", 64) with its value. Numbers that are not finite
are stored as the strings "nan", "inf" and "-inf": JSON does not have them, and `float` reads them back.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Key = tuple  # ("param", name), ("tag", name), ("point", series, step), ("image", series, step), ("file", path)...


def decode(line: bytes) -> Event:
    """The event in a line.

    Raises:
        ValueError: the line is not JSON, or not an event that this version knows.
    """
    event = json.loads(line)
    entries(event)
    return event


def encode(event: Event) -> bytes:
    return (json.dumps(event, allow_nan=False) + "\n").encode()


def entries(event: Event) -> dict[Key, Any]:
    """What an event logs, by key.

    Raises:
        ValueError: the event is not one that this version knows.
    """
    match event:
        case {"event": "run", "name": name, "time": int(), "parent": _}:
            return {("run",): name}
        case {"event": "params", "values": dict() as values}:
            return {("param", name): value for name, value in values.items()}
        case {"event": "tags", "values": dict() as values}:
            return {("tag", name): value for name, value in values.items()}
        case {"event": "points", "step": int() as step, "time": int(), "values": dict() as values}:
            return {("point", series, step): value for series, value in values.items()}
        case {"event": "image", "key": series, "step": int() as step, "time": int(), "file": file}:
            return {("image", series, step): file}
        case {"event": "file", "folder": folder, "file": str() as file}:
            return {("file", f"{folder}/{Path(file).name}".lstrip("/")): file}
        case {"event": "dataset", "name": name, "digest": digest, "source": _, "context": context}:
            return {("dataset", name, digest): context}
        case {"event": "status", "status": status, "time": int()}:
            return {("status",): status}
    raise ValueError(f"unknown event {json.dumps(event)[:80]}")


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
