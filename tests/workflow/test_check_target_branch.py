"""The workflow's comparison with the target branch, in real Git repositories: only what is fine passes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clones import ROOT
from commands.test_check import git, write_baseline, write_run

SCRIPT = ROOT / ".github" / "scripts" / "check_target_branch.py"
OTHER_BUDGET = {"images": 20000}


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """Branch `change` of a repository whose `main` has a run and a baseline; the same files on both."""
    folder = tmp_path / "repository"
    write_run(folder / "metrics")
    write_baseline(folder / "metrics", tmp_path / "scratch")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "checkout", "-q", "-b", "change")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "change")


def commit_other_budget(folder: Path, new_baseline: bool, **scores: float) -> None:
    write_run(folder / "metrics", OTHER_BUDGET, **scores)
    if new_baseline:
        write_baseline(folder / "metrics", folder.parent / "scratch", OTHER_BUDGET)
    commit(folder)


def step(folder: Path, target: str = "main") -> tuple[int, str]:
    """Exit code and output of the workflow's step."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, SCRIPT, target], cwd=folder, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("fid", "code"), [(2.5, 0), (4.8, 1)])
def test_comparable_scores_decide(repository, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    commit(repository)
    found, output = step(repository)
    assert found == code and "| relative FID | lower |" in output


def test_a_new_baseline_does_not_hide_a_regression(repository):
    write_run(repository / "metrics", relative_fid=4.8)
    path = repository / "metrics" / "baseline.json"
    path.write_text(path.read_text().replace('"0000000', '"1111111'))
    commit(repository)
    assert step(repository)[0] == 1


def test_another_budget_passes_with_a_new_baseline_and_a_warning(repository):
    commit_other_budget(repository, new_baseline=True)
    code, output = step(repository)
    assert code == 0 and "::warning::not comparable with main, but there is a new baseline" in output


def test_another_budget_without_a_new_baseline_fails(repository):
    commit_other_budget(repository, new_baseline=False)
    code, output = step(repository)
    assert code == 2 and "::error::not comparable with main" in output
    assert "images is 20000 in " in output and " but 720000 in " in output


def test_a_baseline_that_only_the_target_branch_changed_is_not_new(repository):
    """The scores are fine by the baseline that the branches had in common, which the target has left behind."""
    git(repository, "checkout", "-q", "main")
    commit_other_budget(repository, new_baseline=True)
    git(repository, "checkout", "-q", "change")
    code, output = step(repository)
    assert code == 2 and "metrics/baseline.json is not new" in output


def test_a_new_baseline_must_accept_the_scores(repository):
    commit_other_budget(repository, new_baseline=True, relative_fid=4.8)
    assert step(repository)[0] == 2


def test_a_deleted_baseline_is_not_new(repository):
    commit_other_budget(repository, new_baseline=False)
    git(repository, "rm", "-q", "metrics/baseline.json")
    git(repository, "commit", "-q", "-m", "no baseline")
    write_baseline(repository / "metrics", repository.parent / "scratch", OTHER_BUDGET)  # not committed
    code, output = step(repository)
    assert code == 2 and "metrics/baseline.json is not new" in output


def test_scores_and_baselines_with_nan_fail(repository):
    commit_other_budget(repository, new_baseline=True, relative_fid=float("nan"))
    assert step(repository)[0] == 2
    write_run(repository / "metrics", OTHER_BUDGET)
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    content["scores"]["recall"]["values"][0] = float("nan")
    path.write_text(json.dumps(content))
    commit(repository)
    assert step(repository)[0] == 2


def test_missing_scores_fail(repository):
    commit_other_budget(repository, new_baseline=True)
    (repository / "metrics" / "evaluate.json").unlink()
    commit(repository)
    write_run(repository / "metrics", OTHER_BUDGET)  # what is not committed does not count
    assert step(repository)[0] == 2


def test_an_unknown_target_branch_fails(repository):
    commit_other_budget(repository, new_baseline=True)
    code, output = step(repository, "origin/main")
    assert code == 2 and "unknown revision origin/main" in output


def test_branches_without_a_common_commit_fail(repository):
    git(repository, "checkout", "-q", "--orphan", "unrelated")
    commit_other_budget(repository, new_baseline=True)
    code, output = step(repository)
    assert code == 2 and "::error::`git merge-base main HEAD` ended with 1" in output
    assert output.count("::error::") == 1


def test_a_git_error_fails(repository):
    """The baseline of the target branch is lost, as in a damaged or partial clone."""
    blob = git(repository, "rev-parse", "main:metrics/baseline.json")
    commit_other_budget(repository, new_baseline=True)
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    code, output = step(repository)
    assert code == 2 and "::warning::" not in output


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("numpy", "raise ImportError('half installed')"),
        ("sitecustomize", "import atexit, os, sys\nif 'dcgan.cli' in sys.orig_argv:\n    atexit.register(os._exit, 3)"),
    ],
    ids=["before the verdict", "after it"],
)
def test_a_crash_of_the_check_fails(repository, module, content):
    (repository.parent / f"{module}.py").write_text(content)
    environment = os.environ | {"PYTHONPATH": f"{repository.parent}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, SCRIPT, "main"], cwd=repository, env=environment, capture_output=True)
    assert done.returncode == 2
