"""`dcgan report`: the table and where to look; files that it cannot read."""

import json

import pytest

from dcgan.commands import report
from dcgan.scores import PROTOCOL_VERSION
from dcgan.support.errors import UserError


def write_scores(folder, version: int) -> None:
    (folder / "metrics").mkdir()
    scores = {"relative_fid": 2.341, "relative_fid_real": 1.0, "protocol": {"version": version}}
    (folder / "metrics" / "evaluate.json").write_text(json.dumps(scores))


def test_it_prints_the_scores_and_where_to_look(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path, PROTOCOL_VERSION)
    report.run(None)
    printed = capsys.readouterr().out
    assert "2.34" in printed and "1.00" in printed
    assert str(tmp_path / "samples/grid.png") in printed and "make ui" in printed


def test_missing_scores_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cannot read metrics/evaluate\.json"):
        report.run(None)


def test_scores_of_an_old_protocol_are_an_error_and_not_half_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path, PROTOCOL_VERSION - 1)
    with pytest.raises(UserError, match=r"evaluate\.json has protocol version 1, expected 2.*`dvc repro`"):
        report.run(None)
    assert capsys.readouterr().out == ""
