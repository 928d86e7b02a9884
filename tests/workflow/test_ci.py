"""The workflow file: what it runs is fixed, and its shell fails on what it does not know."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clones import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def steps(path: Path) -> list[dict]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used and [action for action in used if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", action)] == []


def step(name: str) -> dict:
    (found,) = (step for step in steps(ROOT / ".github/workflows/ci.yml") if step.get("name") == name)
    return found


@pytest.mark.parametrize(("target", "commits"), [("", ["1" * 40]), ("2" * 40, ["1" * 40, "2" * 40])])
def test_the_job_summary_has_the_pictures_of_both_commits_below_the_scores(tmp_path, target, commits):
    summary = tmp_path / "summary"
    summary.write_text("### Scores\n")
    variables = {"RAW": "https://host/owner/name/raw", "HERE": "1" * 40, "TARGET": target}
    variables |= {"GITHUB_STEP_SUMMARY": str(summary)}
    script = step("Pictures in the job summary")["run"]
    subprocess.run(["bash", "--noprofile", "--norc", "-ec", script], env=os.environ | variables, check=True)
    found = re.findall(r"!\[.+\]\(https://host/owner/name/raw/(\w+)/(.+)\)", summary.read_text())
    assert [commit for commit, _ in found] == commits
    assert all((ROOT / path).is_file() for _, path in found)
    assert summary.read_text().startswith("### Scores\n\n")


@pytest.mark.extended
@pytest.mark.parametrize("target", ["HEAD", "nowhere"])
def test_a_pull_request_gets_a_comment_with_verdict_and_scores(tmp_path, target):
    """Also if the gate could not compare: the comment then has the reason."""
    (tmp_path / "dcgan").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dcgan.cli "$@"\n')
    (tmp_path / "dcgan").chmod(0o755)
    script = step("The gate's table and the scores, as text for a comment")["run"]
    script = script.replace(".venv/bin/dcgan", str(tmp_path / "dcgan")).replace("comment", str(tmp_path))
    summary = tmp_path / "summary"
    variables = {"TARGET": target, "GITHUB_STEP_SUMMARY": str(summary), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(["bash", "--noprofile", "--norc", "-ec", script], cwd=ROOT, env=os.environ | variables)
    comment = (tmp_path / "gate.md").read_text()
    if target == "HEAD":
        assert comment.startswith("### Gate: ") and "| score | better | baseline | candidate |" in comment
        assert "\n\n### Scores\n\n| score |" in comment
    else:
        assert comment.startswith("error: ") and "nowhere" in comment
    assert not summary.exists()


@pytest.mark.parametrize(
    ("printed", "status", "code"),
    [
        ("Stage 'a' didn't change, skipping\nData and pipelines are up to date.", 0, 0),
        ("Running stage 'a':\n> true\n\nUse `dvc push` to send your updates to remote storage.", 0, 1),
        ("Data and pipelines are up to date.", 3, 3),
        ("Everything is as it should be, says another version", 0, 1),
        ("", 0, 1),
    ],
)
def test_only_an_up_to_date_pipeline_passes(tmp_path, printed, status, code):
    """DVC's part is played by a script; that it prints this sentence is checked in stages/test_pipeline.py."""
    check = step("No stage is stale")
    dvc = tmp_path / ".venv" / "bin" / "dvc"
    dvc.parent.mkdir(parents=True)
    dvc.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\nexit {status}\n")
    dvc.chmod(0o755)
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", check["run"]]  # as GitHub runs `shell: bash`
    assert check["shell"] == "bash"
    assert subprocess.run(shell, cwd=tmp_path, capture_output=True).returncode == code
