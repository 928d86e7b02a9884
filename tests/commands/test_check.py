"""`dcgan check` as a user runs it, in real Git repositories."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clones import run

from dcgan.cli import main
from dcgan.gate.baseline import build_baseline
from dcgan.gate.revisions import read_run
from dcgan.gate_settings import GATE

PROTOCOL = {
    "version": 2,
    "features_sha256": "ab",
    "n_generated": 10000,
    "n_real": 10000,
    "n_samples": 60000,
    "class_mix": "mnist",
    "sample_seed": 1000,
    "evaluate_seed": 2000,
}
TRAIN = {"seed": 1, "images": 720000, "device": "cpu", "precision": "bf16", "workers": 2, "conditional": True}
SCORES = {"relative_fid": 2.4, "recall": 0.87, "label_accuracy": 0.985, "cas": 0.986, "kid_x1000": 1.5, "fid_real": 3.0}


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).stdout.strip()


def write_run(folder: Path, train: dict | None = None, protocol: dict | None = None, **scores: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    evaluate = {**SCORES, **scores, "protocol": {**PROTOCOL, **(protocol or {})}}
    (folder / "evaluate.json").write_text(json.dumps(evaluate))
    (folder / "train.json").write_text(json.dumps({**TRAIN, **(train or {})}))
    return folder / "evaluate.json"


def write_baseline(folder: Path, scratch: Path) -> None:
    """Eight seeds; relative FID varies by 6 % over them."""
    generator = np.random.default_rng(0)
    runs = []
    for seed in range(2, 10):
        spread = generator.normal(0, 1, 4)
        scores = {"relative_fid": 2.4 * float(np.exp(0.06 * spread[0]))}
        scores |= {
            name: SCORES[name] + 0.001 * z
            for name, z in zip(("recall", "label_accuracy", "cas"), spread[1:], strict=True)
        }
        runs.append(read_run(GATE, str(write_run(scratch / str(seed), {"seed": seed}, **scores))))
    baseline = build_baseline(GATE, runs, "0" * 40, [], {"torch": "1.0"})
    (folder / "baseline.json").write_text(json.dumps(baseline.model_dump()))


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a run of seed 1 and a baseline of seeds 2 to 9, committed on main."""
    folder = tmp_path / "repository"
    write_run(folder / "metrics")
    write_baseline(folder / "metrics", tmp_path / "scratch")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return folder


def check(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["check", *arguments])
    return exit_.value.code, *capsys.readouterr()


def refused(capsys, *arguments: str) -> str:
    """The one line that says why nothing was compared."""
    code, out, err = check(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(("fid", "code"), [(2.4, 0), (4.8, 1)])
def test_the_exit_code_of_the_real_command_is_the_verdict(repository, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    command = [sys.executable, "-m", "dcgan.cli", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == code
    assert answer["scores"]["relative_fid"]["verdict"] == ("REGRESSION" if code else "same")
    assert "| relative_fid | lower |" in done.stderr


def test_a_closed_pipe_is_not_an_error(repository):
    write_run(repository / "metrics")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_real_command_refuses_in_one_line_what_is_not_comparable(repository):
    write_run(repository / "metrics", {"images": 20000})
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "images is 20000 and not 720000" in done.stderr


def test_a_fine_run_shows_its_table_and_both_error_rates(repository, capsys):
    code, out, _ = check(capsys)
    assert code == 0
    for text in (
        "Gate: fine",
        "seed 1",
        "8 seeds",
        "| recall | higher |",
        "| kid_x1000 |",
        "false-alarm rate (at most 0.9 %)",
        "detection power for relative_fid worse by 50 % (wanted: 90 %)",
    ):
        assert text in out
    assert "fid_real" not in out  # a property of the extractor, not of the model
    assert "torch 1.0 -> " in out  # versions are reported ...
    assert "Too few seeds" not in out


@pytest.mark.parametrize(
    ("score", "bad"), [("relative_fid", 4.0), ("recall", 0.7), ("label_accuracy", 0.96), ("cas", 0.96)]
)
def test_each_gated_score_fails_on_its_own(repository, capsys, score, bad):
    write_run(repository / "metrics", **{score: bad})
    code, out, _ = check(capsys)
    assert code == 1 and out.count("**REGRESSION**") == 1


def test_a_score_that_is_only_reported_does_not_fail(repository, capsys):
    write_run(repository / "metrics", kid_x1000=900.0)
    assert check(capsys)[0] == 0


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        *(("protocol", key, "other") for key in PROTOCOL),
        ("train", "conditional", False),
        ("train", "images", 20000),
        ("train", "device", "cuda"),
        ("train", "precision", "fp32"),
    ],
)
def test_another_context_is_not_comparable(repository, capsys, file, key, value):
    write_run(repository / "metrics", **{file: {key: value}})
    line = refused(capsys)
    assert "not comparable" in line and "dcgan baseline" in line
    assert repr(value) in line


@pytest.mark.parametrize(("file", "key"), [("evaluate", "protocol"), ("train", "images"), ("train", "seed")])
def test_a_run_without_its_context_is_refused(repository, capsys, file, key):
    path = repository / "metrics" / f"{file}.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    assert f"{file}.json has no {key}" in refused(capsys)


@pytest.mark.parametrize("name", ["relative_fid", "kid_x1000"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(repository, capsys, name, value):
    write_run(repository / "metrics", **{name: value})  # Python writes the literals NaN and Infinity
    assert f"{name} is {value}" in refused(capsys)


def test_missing_and_impossible_scores_are_refused(repository, capsys):
    path = repository / "metrics" / "evaluate.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cas": None}))
    assert "cas is missing" in refused(capsys)
    path.write_text(json.dumps({**content, "relative_fid": 0.0}))
    assert "must be above 0" in refused(capsys)
    path.write_text("{")
    assert "is not JSON" in refused(capsys)
    path.write_text("[]")
    assert "not a JSON object" in refused(capsys)
    path.unlink()
    assert "cannot read" in refused(capsys)


def test_the_seed_of_the_candidate_is_not_in_the_baseline(repository, capsys):
    write_run(repository / "metrics", {"seed": 5})
    assert "seed 5, which is in the baseline" in refused(capsys)


def test_several_candidate_seeds_are_compared_by_their_mean(repository, capsys):
    paths = [
        str(write_run(repository / f"run{seed}", {"seed": seed}, relative_fid=fid))
        for seed, fid in ((20, 2.0), (21, 2.9))
    ]
    assert check(capsys, paths[1])[0] == 0  # 2.9 alone is within the noise of one run
    code, out, _ = check(capsys, "--json", *paths)
    answer = json.loads(out)
    assert code == 0 and answer["scores"]["relative_fid"]["candidate"] == pytest.approx((2.0 * 2.9) ** 0.5)
    assert answer["power"]["candidate_seeds"] == 2
    write_run(repository / "run20", {"seed": 20}, relative_fid=2.9)
    assert check(capsys, *paths)[0] == 1  # 2.9 twice is not
    write_run(repository / "run20", {"seed": 21})
    assert "both trained with seed 21" in refused(capsys, *paths)


def as_before_protocol_2(content: str) -> str:
    """Scores or a baseline as earlier versions of this project wrote them."""
    for new, old in (
        ("features_sha256", "ruler_sha256"),
        ("label_accuracy", "agreement"),
        ('version": 2', 'version": 1'),
    ):
        assert new in content
        content = content.replace(new, old)
    return content


def test_a_baseline_of_an_earlier_protocol_is_refused(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    path.write_text(as_before_protocol_2(path.read_text()))
    line = refused(capsys)
    assert "metrics/baseline.json was measured by another version" in line
    assert "no features_sha256, but ruler_sha256" in line and "dcgan baseline --seeds" in line
    git(repository, "commit", "-q", "-a", "-m", "old")
    assert "metrics/baseline.json of main was measured by another version" in refused(capsys, "--rev", "main")


def test_scores_of_an_earlier_protocol_are_refused(repository, capsys):
    path = repository / "metrics" / "evaluate.json"
    path.write_text(as_before_protocol_2(path.read_text()))
    line = refused(capsys)
    assert "evaluate.json has no protocol.features_sha256" in line and "dvc repro" in line


def test_no_baseline_and_a_broken_one(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    del content["scores"]["cas"]
    path.write_text(json.dumps(content))
    assert "score cas needs at least 3 values" in refused(capsys)
    content["seeds"] = "2"
    path.write_text(json.dumps(content))
    assert "is not a baseline: seeds" in refused(capsys)
    path.unlink()
    assert "dcgan baseline --seeds" in refused(capsys)


def test_a_revision_with_a_baseline_is_the_reference(repository, capsys):
    (repository / "metrics" / "baseline.json").unlink()  # what stands here does not matter
    assert "metrics/baseline.json of main (8 seeds" in check(capsys, "--rev", "main")[1]
    write_run(repository / "metrics", relative_fid=4.8)
    assert check(capsys, "--rev", "HEAD")[0] == 1


def test_a_revision_without_a_baseline_is_its_own_reference(repository, capsys):
    git(repository, "rm", "-q", "--cached", "metrics/baseline.json")
    git(repository, "commit", "-q", "-m", "no baseline")
    code, out, _ = check(capsys, "--rev", "main")
    assert code == 0 and "main (1 run, seed 1) with the spread of metrics/baseline.json" in out
    assert "false-alarm rate (at most 0.9 %)" in out
    limits = [
        json.loads(check(capsys, "--json", *arguments)[1])["scores"]["relative_fid"]["limit"]
        for arguments in (["--rev", "main"], [])
    ]
    assert limits[0] > limits[1]  # one run says less about a mean than eight do
    (repository / "metrics" / "baseline.json").unlink()
    assert "there is no baseline" in refused(capsys, "--rev", "main")


def test_unknown_revisions_and_revisions_without_scores(repository, capsys):
    assert "unknown revision nowhere" in refused(capsys, "--rev", "nowhere")
    assert "unknown revision nowhere" in refused(capsys, "nowhere")
    git(repository, "rm", "-q", "-r", "--cached", "metrics")
    git(repository, "commit", "-q", "-m", "no metrics")
    assert "has neither metrics/baseline.json nor metrics/evaluate.json" in refused(capsys, "--rev", "main")
    assert "no metrics/evaluate.json and no metrics/train.json" in refused(capsys, "main")


def test_a_shallow_clone_is_given_as_the_reason(repository, tmp_path, monkeypatch, capsys):
    git(repository, "tag", "first")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    line = refused(capsys, "--rev", "first")
    assert "shallow clone" in line and "--unshallow" in line and "fetch-depth: 0" in line
    assert check(capsys, "--rev", "HEAD")[0] == 0  # what is there can be used


def test_outside_a_repository(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    assert "not inside a Git repository" in refused(capsys, "--rev", "main")


def test_the_job_summary_gets_the_table_or_the_reason(repository, tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    check(capsys)
    refused(capsys, "--rev", "nowhere")
    text = summary.read_text()
    assert text.startswith("before\n") and "| relative_fid | lower |" in text and "unknown revision nowhere" in text


def test_json_also_says_why_nothing_was_compared(repository, capsys):
    code, out, err = check(capsys, "--json", "--rev", "nowhere")
    assert (code, json.loads(out)["verdict"]) == (2, "not comparable")
    assert "unknown revision" in err
