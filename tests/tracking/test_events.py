"""The format of a run log's lines."""

import json
import math

import pytest

from dcgan.tracking.events import decode, encode, entries, flatten, to_json_number, to_text

MODEL = {
    "event": "model",
    "name": "dcgan",
    "sha256": "ab",
    "files": {"artifacts/a.bin": "files/1/a.bin"},
    "entry": "model.py",
    "weights": {"generator": "artifacts/a.bin"},
    "signature": {"inputs": None},
    "example": [],
    "requirements": ["torch==2"],
    "python": "3.12.1",
}
EVENTS = [
    ({"event": "run", "name": "a", "time": 1, "parent": None}, {("run",): "a"}),
    ({"event": "params", "values": {"seed": "1"}}, {("param", "seed"): "1"}),
    ({"event": "tags", "values": {"a": "x", "b": "y"}}, {("tag", "a"): "x", ("tag", "b"): "y"}),
    ({"event": "points", "step": 64, "time": 1, "values": {"loss": 0.5}}, {("point", "loss", 64): 0.5}),
    ({"event": "image", "key": "grid", "step": 0, "time": 1, "file": "f/a.png"}, {("image", "grid", 0): "f/a.png"}),
    ({"event": "file", "folder": "metrics", "file": "files/1/a.csv"}, {("file", "metrics/a.csv"): "files/1/a.csv"}),
    ({"event": "file", "folder": "", "file": "files/1/a.csv"}, {("file", "a.csv"): "files/1/a.csv"}),
    (
        {"event": "dataset", "name": "MNIST", "digest": "ab", "source": "data", "context": "training"},
        {("dataset", "MNIST", "ab"): "training"},
    ),
    (MODEL, {("model", "dcgan"): "ab"}),
    ({"event": "status", "status": "FAILED", "time": 1}, {("status",): "FAILED"}),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS, ids=lambda value: value.get("event"))
def test_an_event_reads_back_and_adds_its_entries(event, expected):
    line = encode(event)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == event
    assert entries(event) == expected


@pytest.mark.parametrize(
    "line",
    [
        b'{"event": "metrics", "step": 1}\n',  # an event of another version
        b'{"event": "points", "values": {"a": 1.0}}\n',  # without its step
        b'{"event": "params", "values": [1]}\n',
        b'{"event": "params", "values": {"a": 1}}\n',
        b'{"event": "tags", "values": {"a": null}}\n',
        b'{"event": "points", "step": 1, "time": 1, "values": {"a": "high"}}\n',
        b'{"event": "points", "step": 1, "time": 1, "values": {"a": true}}\n',
        b'{"event": "run", "name": "a", "time": 1, "parent": 5}\n',
        b'{"event": "file", "folder": null, "file": "f"}\n',
        b'{"event": "file", "folder": "../..", "file": "f"}\n',
        b'{"event": "file", "folder": "/tmp", "file": "f"}\n',
        b'{"event": "status", "status": "DONE", "time": 1}\n',
        b'{"event": ["run"]}\n',
        b'{"metric": "loss"}\n',
        b"[1, 2]\n",
        b"3\n",
        b"null\n",
    ],
)
def test_an_unknown_format_is_named_in_the_error(line):
    with pytest.raises(ValueError, match="unknown event") as caught:
        decode(line)
    assert str(caught.value).endswith(line.decode().strip()[-40:])


@pytest.mark.parametrize("files", [{"../../a.py": "files/1/a.py"}, {"/tmp/a.py": "files/1/a.py"}, {"a.py": None}])
def test_files_of_a_model_stay_in_its_folder(files):
    with pytest.raises(ValueError, match="unknown event"):
        decode(encode(MODEL | {"files": files}))


def test_numbers_that_are_not_finite_are_strict_json():
    for value in (math.nan, math.inf, -math.inf):
        line = encode({"event": "points", "step": 1, "time": 1, "values": {"a": to_json_number(value)}})
        stored = json.loads(line, parse_constant=pytest.fail)["values"]["a"]
        assert repr(float(stored)) == repr(value)


def test_nested_parameters_get_dotted_names():
    assert flatten({"a": {"b": None, "c": {"d": 0.5}}, "e": "x"}) == {"a.b": "null", "a.c.d": "0.5", "e": "x"}


def test_a_number_has_one_text_whether_integer_or_float():
    assert [to_text(value) for value in (10000, 10000.0, 0.001, True, None, "x")] == [
        "10000",
        "10000",
        "0.001",
        "true",
        "null",
        "x",
    ]
