"""Tags that tell where a run came from."""

import json
import sys
from pathlib import Path

import pytest
from clones import run

from dcgan.support.files import read_json
from dcgan.tracking.provenance import describe_environment, log_environment, revision_tags
from dcgan.tracking.run_log import RunLog

SOURCE = Path(__file__).parents[2] / "src"
# A stage that writes its tags to the repository it was started in
PIPELINE = """
stages:
  train:
    cmd: python stage.py
    deps: [code.py, stage.py]
    params: [seed]
    outs: [model]
    metrics: [scores.json: {cache: false}]
"""
STAGE = """
import json, os
from pathlib import Path
from dcgan.tracking.provenance import revision_tags
root = Path(os.environ["DVC_ROOT"])
Path("model").touch()
Path("scores.json").write_text("{}")
(root / f"{os.environ['DVC_EXP_NAME']}.tags").write_text(json.dumps(revision_tags(root)))
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    files = {"code.py": "1", "params.yaml": "seed: 1\n", "dvc.yaml": PIPELINE, "scores.json": "old", "stage.py": STAGE}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "start"]):
        run(tmp_path, "git", *command)
    return tmp_path


def test_commit_branch_changes_and_user_are_tags(repository, monkeypatch):
    monkeypatch.setenv("LOGNAME", "someone")
    (repository / "untracked").touch()
    tags = revision_tags(repository)
    assert (
        tags["git.commit"]
        == tags["mlflow.source.git.commit"]
        == run(repository, "git", "rev-parse", "HEAD").stdout.strip()
    )
    assert (tags["git.branch"], tags["git.dirty"], tags["mlflow.user"]) == ("main", "false", "someone")
    (repository / "code.py").write_text("2")
    assert revision_tags(repository)["git.dirty"] == "true"


def test_what_dvc_writes_is_no_change_of_the_code(repository):
    """Parameters are changed by `dvc exp run -S`, and outputs by stages."""
    (repository / "params.yaml").write_text("seed: 2\n")
    (repository / "scores.json").unlink()
    assert revision_tags(repository)["git.dirty"] == "false"
    (repository / "dvc.yaml").write_text(PIPELINE + "  other: {cmd: 'true'}\n")
    assert revision_tags(repository)["git.dirty"] == "true"


def test_a_detached_head_is_on_no_branch(repository):
    run(repository, "git", "checkout", "-q", "--detach")
    assert "git.branch" not in revision_tags(repository)


def test_an_experiment_is_named_and_on_the_branch_it_was_started_on(repository, monkeypatch):
    """DVC detaches HEAD for it, and for a queued one makes a repository with no branch."""
    assert "dvc.exp_name" not in revision_tags(repository)
    run(repository, "git", "checkout", "-qb", "feature")
    monkeypatch.setenv("DVC_EXP_NAME", "wide")
    queued = repository / "queued"
    run(repository, "git", "init", "-q", str(queued))
    run(queued, "git", "fetch", "-q", str(repository), "feature")
    run(queued, "git", "checkout", "-q", "--detach", "FETCH_HEAD")
    monkeypatch.chdir(queued)
    tags = revision_tags(repository)
    assert (tags["git.branch"], tags["dvc.exp_name"]) == ("feature", "wide")
    run(repository, "git", "checkout", "-q", "--detach")
    monkeypatch.chdir(repository)
    assert revision_tags(repository)["git.branch"] == "feature"
    (repository / "code.py").write_text("2")
    run(repository, "git", "commit", "-qam", "of no branch")
    assert "git.branch" not in revision_tags(repository)


@pytest.mark.faults  # starts DVC three times
def test_branch_and_changes_of_real_experiments(repository):
    run(repository, "dvc", "init", "-q")
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-qm", "DVC")
    found = {}
    for name, where, code in (("here", [], "1"), ("temp", ["--temp"], "1"), ("changed", ["--temp"], "2")):
        (repository / "code.py").write_text(code)
        command = ["dvc", "exp", "run", *where, "-n", name, "-S", f"seed={len(found) + 2}"]
        run(repository, *command, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin", PYTHONPATH=str(SOURCE))
        tags = json.loads((repository / f"{name}.tags").read_text())
        found[tags["dvc.exp_name"]] = (tags["git.branch"], tags["git.dirty"])
    assert found == {"here": ("main", "false"), "temp": ("main", "false"), "changed": ("main", "true")}


def test_without_git_the_machine_is_still_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert not {"git.commit", "git.dirty", "git.branch"} & revision_tags(tmp_path).keys()
    found = describe_environment()
    expected = {"host", "platform", "cpu.model", "cpu.cores", "version.python", "version.torch", "version.mlflow"}
    assert expected <= set(found)
    assert all(isinstance(value, str) for value in found.values())
    assert int(found["cpu.cores"]) > 0


def test_few_facts_about_the_machine_are_tags_and_all_of_them_a_file(repository):
    run_log = RunLog.create(repository, "training")
    log_environment(run_log, repository / "state", {"device": "cpu", "workers": 2})
    assert {"host", "device", "version.torch"} <= run_log.tags.keys()
    assert not {"workers", "platform", "version.numpy"} & run_log.tags.keys()
    place = run_log.value("file", "environment.json")
    environment = read_json(run_log.copied_file(place))
    assert {"host", "device", "workers", "platform", "version.numpy"} <= environment.keys()
