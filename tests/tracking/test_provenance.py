"""Tags that tell where a run came from."""

import subprocess

import pytest

from dcgan.tracking.provenance import environment_tags, revision_tags


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "code.py").write_text("1")
    for command in (["init", "-q", "-b", "main"], ["add", "code.py"], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_commit_branch_and_changes_are_tags(repository):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    (repository / "untracked").touch()
    tags = revision_tags()
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == commit
    assert (tags["git.branch"], tags["git.dirty"]) == ("main", "false")
    (repository / "code.py").write_text("2")
    assert revision_tags()["git.dirty"] == "true"


def test_a_dvc_experiment_is_named(repository, monkeypatch):
    assert not {"dvc.exp_name", "dvc.baseline_rev"} & revision_tags().keys()
    monkeypatch.setenv("DVC_EXP_NAME", "wide")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    assert {"dvc.exp_name": "wide", "dvc.baseline_rev": "abc"}.items() <= revision_tags().items()


def test_without_git_the_machine_is_still_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    tags = environment_tags()
    assert not {"git.commit", "git.dirty"} & tags.keys()
    assert {"host", "platform", "cpu.model", "cpu.cores", "version.python", "version.torch", "version.mlflow"} <= set(
        tags
    )
    assert all(isinstance(value, str) for value in tags.values())
    assert int(tags["cpu.cores"]) > 0
