"""`dcgan report`: the table and where to look; the table of a pull request; files that it cannot read."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from clones import run

from dcgan.commands import report
from dcgan.scores import PROTOCOL_VERSION
from dcgan.support.errors import UserError

PLAIN = Namespace(markdown=None)


def write_scores(folder: Path, version: int, **others: float) -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    scores = {"relative_fid": 2.341, "relative_fid_real": 1.0, "protocol": {"version": version}} | others
    (folder / "metrics" / "evaluate.json").write_text(json.dumps(scores))


def test_it_prints_the_scores_and_where_to_look(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path, PROTOCOL_VERSION)
    for name in ("samples/grid.png", "metrics/report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    report.run(PLAIN)
    printed = capsys.readouterr().out
    assert "2.34" in printed and "1.00" in printed
    assert str(tmp_path / "samples/grid.png") in printed and "make ui" in printed
    assert "committed" not in printed


def test_in_a_fresh_clone_it_says_whose_scores_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path, PROTOCOL_VERSION)
    report.run(PLAIN)
    printed = capsys.readouterr().out
    assert "2.34" in printed and "grid.png" not in printed
    assert "scores of the committed run, which came with the clone" in printed


def test_the_table_needs_no_scipy(tmp_path):
    """It takes ten times as long to import as the table takes."""
    write_scores(tmp_path, PROTOCOL_VERSION)
    code = (
        "import argparse, sys; from dcgan.commands import report; report.run(argparse.Namespace(markdown=None))\n"
        "sys.exit('scipy' in sys.modules)"
    )
    run(tmp_path, sys.executable, "-c", code)


def test_missing_scores_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cannot read metrics/evaluate\.json"):
        report.run(PLAIN)


def test_scores_of_an_old_protocol_are_an_error_and_not_half_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path, PROTOCOL_VERSION - 1)
    with pytest.raises(
        UserError, match=rf"has protocol version {PROTOCOL_VERSION - 1}, expected {PROTOCOL_VERSION}.*`dvc repro`"
    ):
        report.run(PLAIN)
    assert capsys.readouterr().out == ""


# ---- The table of a pull request -------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository whose branch main has relative FID 2.34 and no recall."""
    write_scores(tmp_path, PROTOCOL_VERSION)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"]):
        run(tmp_path, "git", *command)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def markdown(capsys, revision: str) -> list[str]:
    report.run(Namespace(markdown=revision))
    return capsys.readouterr().out.splitlines()


def test_the_markdown_table_has_the_scores_of_another_revision_beside_those_here(repository, capsys):
    write_scores(repository, PROTOCOL_VERSION, relative_fid=1.2, recall=0.8, recall_real=0.9)
    title, _, header, ruler, fid, recall = markdown(capsys, "main")
    assert title == "### Scores"
    assert header == "| score | better | here | main | real digits | what it measures |"
    assert ruler == "| --- | --- | --- | --- | --- | --- |"
    assert fid.startswith("| relative FID | lower | 1.20 | 2.34 | 1.00 | ")
    assert recall.startswith("| recall | higher | 0.800 | - | 0.900 | ")


def test_the_markdown_table_alone(repository, capsys):
    assert markdown(capsys, "")[2] == "| score | better | here | real digits | what it measures |"


def test_scores_of_another_protocol_are_not_put_beside_these(repository, capsys):
    write_scores(repository, PROTOCOL_VERSION - 1)
    run(repository, "git", "commit", "-qam", "old protocol")
    write_scores(repository, PROTOCOL_VERSION)
    lines = markdown(capsys, "main")
    assert lines[2].count("|") == 6
    assert lines[-1] == (
        f"Not compared with main: it has protocol version {PROTOCOL_VERSION - 1}, not {PROTOCOL_VERSION}."
    )


def test_a_revision_without_scores_is_named(repository, capsys):
    run(repository, "git", "rm", "-q", "--cached", "metrics/evaluate.json")
    run(repository, "git", "commit", "-qm", "no scores")
    assert markdown(capsys, "main")[-1] == "Not compared with main: it has no metrics/evaluate.json."


def test_an_unknown_revision_is_an_error(repository):
    with pytest.raises(UserError, match="unknown revision nowhere"):
        report.run(Namespace(markdown="nowhere"))
