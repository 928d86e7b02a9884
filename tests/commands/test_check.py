"""`dcgan check` and `dcgan baseline` as a user runs them, on real Git repositories and real DVC experiments."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcgan.cli import main
from dcgan.gate.baseline import build_baseline
from dcgan.gate.revisions import read_run

ROOT = Path(__file__).parents[2]
PROTOCOL = {
    "version": 1,
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
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_run(folder: Path, train: dict | None = None, protocol: dict | None = None, **scores: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    evaluate = {**SCORES, **scores, "protocol": {**PROTOCOL, **(protocol or {})}}
    (folder / "evaluate.json").write_text(json.dumps(evaluate))
    (folder / "train.json").write_text(json.dumps({**TRAIN, **(train or {})}))
    return folder / "evaluate.json"


def write_baseline(folder: Path, scratch: Path) -> None:
    """Eight seeds, FID's spread 6 %."""
    generator = np.random.default_rng(0)
    runs = []
    for seed in range(2, 10):
        spread = generator.normal(0, 1, 4)
        scores = {"relative_fid": 2.4 * float(np.exp(0.06 * spread[0]))}
        scores |= {
            name: SCORES[name] + 0.001 * z
            for name, z in zip(("recall", "label_accuracy", "cas"), spread[1:], strict=True)
        }
        runs.append(read_run(str(write_run(scratch / str(seed), {"seed": seed}, **scores))))
    baseline = build_baseline(runs, "0" * 40, [], {"torch": "1.0"})
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
    """The one line of a check that could not be made."""
    code, out, err = check(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(("fid", "code"), [(2.4, 0), (4.8, 1)])
def test_the_real_command_ends_with_the_verdict(repository, fid, code):
    write_run(repository / "metrics", relative_fid=fid)
    command = [sys.executable, "-m", "dcgan.cli", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == code
    assert answer["scores"]["relative_fid"]["verdict"] == ("REGRESSION" if code else "same")
    assert "| relative_fid | lower |" in done.stderr


def test_a_reader_that_has_left_is_no_error(repository):
    write_run(repository / "metrics")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_real_command_says_in_one_line_why_it_cannot_compare(repository):
    write_run(repository / "metrics", {"images": 20000})
    command = [sys.executable, "-m", "dcgan.cli", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "images is 20000 and not 720000" in done.stderr


def test_a_fine_run_shows_its_table_and_what_the_gate_promises(repository, capsys):
    code, out, _ = check(capsys)
    assert code == 0
    for text in (
        "Gate: fine",
        "seed 1",
        "8 seeds",
        "| recall | higher |",
        "| kid_x1000 |",
        "at most 1 %",
        "at least 90 %",
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
def test_a_run_that_does_not_say_what_it_is_is_refused(repository, capsys, file, key):
    path = repository / "metrics" / f"{file}.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    assert f"{file}.json has no {key}" in refused(capsys)


@pytest.mark.parametrize("name", ["relative_fid", "kid_x1000"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_bad_input(repository, capsys, name, value):
    write_run(repository / "metrics", **{name: value})  # Python writes the literals NaN and Infinity
    assert f"{name} is {value}" in refused(capsys)


def test_missing_and_impossible_scores_are_bad_input(repository, capsys):
    path = repository / "metrics" / "evaluate.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cas": None}))
    assert "cas is missing" in refused(capsys)
    path.write_text(json.dumps({**content, "relative_fid": 0.0}))
    assert "must be above 0" in refused(capsys)
    path.write_text("{")
    assert "is not JSON" in refused(capsys)
    path.write_text("[]")
    assert "not an object" in refused(capsys)
    path.unlink()
    assert "cannot read" in refused(capsys)


def test_the_seed_of_the_candidate_is_not_in_the_baseline(repository, capsys):
    write_run(repository / "metrics", {"seed": 5})
    assert "seed 5, which is in the baseline" in refused(capsys)


def test_several_candidate_seeds_are_judged_by_their_mean(repository, capsys):
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


def test_no_baseline_and_a_broken_one(repository, capsys):
    path = repository / "metrics" / "baseline.json"
    content = json.loads(path.read_text())
    del content["scores"]["cas"]
    path.write_text(json.dumps(content))
    assert "score cas needs at least 3 values" in refused(capsys)
    content["seeds"] = "2"
    path.write_text(json.dumps(content))
    assert "is no baseline: seeds" in refused(capsys)
    path.unlink()
    assert "dcgan baseline --seeds" in refused(capsys)


def test_a_revision_with_a_baseline_is_compared_with_that(repository, capsys):
    (repository / "metrics" / "baseline.json").unlink()  # what stands here does not matter
    assert "metrics/baseline.json of main (8 seeds" in check(capsys, "--rev", "main")[1]
    write_run(repository / "metrics", relative_fid=4.8)
    assert check(capsys, "--rev", "HEAD")[0] == 1


def test_a_revision_without_a_baseline_stands_for_itself(repository, capsys):
    git(repository, "rm", "-q", "--cached", "metrics/baseline.json")
    git(repository, "commit", "-q", "-m", "no baseline")
    code, out, _ = check(capsys, "--rev", "main")
    assert code == 0 and "main (1 run, seed 1), spread of metrics/baseline.json" in out
    assert "**Too few seeds" in out or "at most 1 %" in out
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


def test_a_shallow_clone_is_named_as_the_reason(repository, tmp_path, monkeypatch, capsys):
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


def test_json_for_machines_also_says_why_not(repository, capsys):
    code, out, err = check(capsys, "--json", "--rev", "nowhere")
    assert (code, json.loads(out)["verdict"]) == (2, "not comparable")
    assert "unknown revision" in err


TOY = """
import json, math, os, pathlib, sys, yaml
train = yaml.safe_load(pathlib.Path("params.yaml").read_text())["train"]
if train["seed"] == 4 and os.path.exists(os.environ["TOY_BREAKS"]):
    sys.exit("broken")
with open(os.environ["TOY_LOG"], "a") as log:
    log.write(f"{train['seed']}\\n")
metrics = pathlib.Path("metrics")
metrics.mkdir(exist_ok=True)
wobble = math.sin(train["seed"])
scores = dict(relative_fid=2.4 + 0.1 * wobble, recall=0.87 + 0.01 * wobble, label_accuracy=0.985, cas=0.986)
protocol = json.loads(pathlib.Path("protocol.json").read_text())
(metrics / "evaluate.json").write_text(json.dumps(scores | {"protocol": protocol}))
told = {key: train[key] for key in ("seed", "images", "precision")} | {"device": "cpu", "conditional": True}
(metrics / "train.json").write_text(json.dumps(told))
"""


def test_a_baseline_is_measured_by_experiments_and_taken_up_again(tmp_path, monkeypatch):
    """A seed that fails costs that seed: the second call runs it alone. No Git identity is needed."""
    folder, home = tmp_path / "toy", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for key in [key for key in os.environ if key.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))]:
        monkeypatch.delenv(key)
    for key, value in {"HOME": home, "TOY_LOG": tmp_path / "log", "TOY_BREAKS": tmp_path / "breaks"}.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("PATH", os.defpath)  # as when the virtual environment is not activated
    monkeypatch.chdir(folder)
    git(folder, "init", "-q", "-b", "main")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "toy.py").write_text(TOY)
    (folder / "protocol.json").write_text(json.dumps(PROTOCOL))
    (folder / "dvc.yaml").write_text(
        "stages:\n  toy:\n    cmd: python toy.py\n    deps: [toy.py, protocol.json]\n"
        "    params: [train]\n    metrics:\n      - metrics/evaluate.json: {cache: false}\n"
        "      - metrics/train.json: {cache: false}\n"
    )
    command = [sys.executable, "-m", "dcgan.cli", "baseline", "--seeds", "3", "-S", "train.images=6400"]

    dirty = subprocess.run(command, capture_output=True, text=True, check=False)
    assert dirty.returncode == 2 and "uncommitted changes" in dirty.stderr
    metrics = folder / "metrics"
    metrics.mkdir()
    (metrics / "baseline.json").write_text("{}")  # that of an earlier version ...
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "toy")
    (metrics / "baseline.json").write_text("{ }")  # ... and a change of it, which does not matter

    (tmp_path / "breaks").touch()
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert broken.returncode == 2 and "the same command goes on" in broken.stderr.splitlines()[-1]
    assert os.listdir(metrics) == ["baseline.json"]
    (tmp_path / "breaks").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().split() == ["2", "3", "4"]  # each trained once

    baseline = json.loads((metrics / "baseline.json").read_text())
    assert baseline["seeds"] == [2, 3, 4] and baseline["settings"] == ["train.images=6400"]
    assert baseline["revision"] == git(folder, "rev-parse", "HEAD")
    assert baseline["context"]["images"] == 6400
    expected = [2.4 + 0.1 * np.sin(seed) for seed in (2, 3, 4)]
    assert baseline["scores"]["relative_fid"]["values"] == pytest.approx(expected)
    assert baseline["power"] and "at most 1 %" in done.stdout
    assert git(folder, "status", "--porcelain") == "M metrics/baseline.json"  # the workspace is as it was otherwise
    name = next(
        line.split("/")[-1] for line in git(folder, "for-each-ref", "refs/exps").splitlines() if "seed-3" in line
    )
    assert read_run(name).seed == 3  # `dcgan check` knows experiments by their name


def test_too_few_seeds_are_refused_before_anything_runs(repository, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["baseline", "--seeds", "2"])
    assert exit_.value.code == 2 and "at least 3" in capsys.readouterr().err


def test_the_plan_tells_the_seeds_that_are_needed(capsys):
    with pytest.raises(SystemExit):
        main(["baseline", "--plan"])
    rows = {
        tuple(line.split(" | ")[:2]): line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")
    }
    cells = rows["| 10", "1"].strip("| ").split(" | ")
    assert float(cells[2].rstrip(" %")) <= 1.0
    assert int(cells[6].rstrip(" %")) >= 90 > int(cells[7].rstrip(" %"))  # enough at a spread of 7 %, not at 8 %
