"""`dcgan baseline` as a user runs it, with real DVC experiments."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from clones import ROOT
from commands.test_check import PROTOCOL, git

from dcgan.cli import main
from dcgan.gate.revisions import read_run
from dcgan.gate_settings import GATE

HEADER = ("baseline seeds", "candidate seeds")
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
training = {key: train[key] for key in ("seed", "images", "precision")} | {"device": "cpu", "conditional": True}
(metrics / "evaluate.json").write_text(json.dumps(scores | {"protocol": protocol, "training": training}))
"""


def test_a_baseline_is_measured_by_experiments_and_continues_after_a_failure(tmp_path, monkeypatch):
    """A failed seed costs only itself: the second call runs it alone. No Git identity is needed."""
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
    )
    command = [sys.executable, "-m", "dcgan.cli", "baseline", "--seeds", "3", "-S", "train.images=6400"]

    dirty = subprocess.run(command, capture_output=True, text=True, check=False)
    assert dirty.returncode == 2 and "uncommitted changes" in dirty.stderr
    (folder / ".gitignore").write_text("/.dcgan\n/mlflow.db*\n/mlartifacts\n")
    metrics = folder / "metrics"
    metrics.mkdir()
    (metrics / "baseline.json").write_text("{}")  # the one of an earlier commit ...
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "toy")
    (metrics / "baseline.json").write_text("{ }")  # ... and a change to it, which does not matter

    (tmp_path / "breaks").touch()
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert broken.returncode == 2 and "run the same command again" in broken.stderr.splitlines()[-1]
    assert os.listdir(metrics) == ["baseline.json"]
    (tmp_path / "breaks").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "log").read_text().split()) == ["2", "3", "4"]  # each trained once

    baseline = json.loads((metrics / "baseline.json").read_text())
    assert baseline["seeds"] == [2, 3, 4] and baseline["settings"] == ["train.images=6400"]
    assert baseline["revision"] == git(folder, "rev-parse", "HEAD")
    assert baseline["context"]["images"] == 6400
    expected = [2.4 + 0.1 * np.sin(seed) for seed in (2, 3, 4)]
    assert baseline["scores"]["relative_fid"]["values"] == pytest.approx(expected)
    power = baseline["power"][0]
    assert 0 < power["false_alarm_rate"] <= 0.009
    assert f"With 1 candidate seed: false-alarm rate {100 * power['false_alarm_rate']:.2f} % (at" in done.stdout
    assert git(folder, "status", "--porcelain") == "M metrics/baseline.json"  # and nothing else has changed
    name = next(
        line.split("/")[-1] for line in git(folder, "for-each-ref", "refs/exps").splitlines() if "seed-3" in line
    )
    assert read_run(GATE, name).seed == 3  # `dcgan check` finds experiments by name


def test_too_few_seeds_are_refused_before_anything_runs(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["baseline", "--seeds", "2"])
    assert exit_.value.code == 2 and "at least 3" in capsys.readouterr().err


def test_the_plan_gives_the_power_of_each_number_of_seeds(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["baseline", "--plan"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0 and "False-alarm rate: at most 0.9 %" in out
    rows = {tuple(line.strip("| ").split(" | ")[:2]): line for line in out.splitlines() if line.startswith("| ")}
    by_spread = dict(zip(*(rows[key].strip("| ").split(" | ") for key in (HEADER, ("10", "1"))), strict=True))
    assert float(by_spread["7 %"].rstrip(" %")) >= 90 > float(by_spread["8 %"].rstrip(" %"))
