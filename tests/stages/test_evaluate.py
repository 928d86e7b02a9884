"""The stage evaluate as DVC runs it: its outputs, what it logs, the same bytes again, and errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dcgan.data.mnist import load_split, write_idx
from dcgan.support.files import sha256
from dcgan.tracking.run_log import RunLog

ROOT = Path(__file__).parents[2]
TRAINED = {"seed": 7, "images": 6400, "conditional": True, "device": "cpu", "precision": "fp32", "workers": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mnist_dir) -> Path:
    """A workspace with 400 real digits as samples, evaluated."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "data").mkdir()
    (folder / "data" / "raw").symlink_to(mnist_dir)
    (folder / "models").mkdir()
    for name in ("digit_features.safetensors", "digit_features.json"):
        shutil.copy(ROOT / "models" / name, folder / "models")
    (folder / "models" / "generator.safetensors").write_bytes(b"a model")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sample"]["count"], params["evaluate"]["images"] = 400, 200
    params["model"]["conditional"], params["evaluate"]["inception"] = True, False
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    images, labels = load_split(mnist_dir, "train")
    write_idx(folder / "samples" / "images-idx3-ubyte", images[:400])
    write_idx(folder / "samples" / "labels-idx1-ubyte", labels[:400])
    (folder / "metrics").mkdir()
    (folder / "metrics" / "train.json").write_text(json.dumps(TRAINED | {"loss_g": 0.8}))
    run_log = RunLog.create(folder, "training")
    run_log.log_tags({"model.sha256": sha256(folder / "models" / "generator.safetensors")})
    run_log.finish("FINISHED")
    done = run_stage(folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_ROOT": str(folder)}
    command = [sys.executable, str(ROOT / "stages" / "evaluate.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_it_writes_scores_pictures_and_a_report(folder):
    found = {str(path.relative_to(folder / "metrics")) for path in (folder / "metrics").rglob("*.*")}
    pictures = {"figures/real_beside_generated.png", "figures/nearest_training.png"}
    assert found == {"evaluate.json", "report.html", "train.json"} | pictures
    report = (folder / "metrics" / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') == 2
    scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
    assert scores["copied"] == 1.0 and 0.97 < scores["label_accuracy"] <= 1.0
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert scores["protocol"]["sample_seed"] == params["sample"]["seed"]


def test_the_scores_say_how_the_model_was_trained(folder):
    scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert scores["training"] == params["model"] | TRAINED


@pytest.mark.parametrize("content", ['{"seed": 7}', "[]"])
def test_a_training_of_another_version_is_refused_before_anything_is_computed(folder, tmp_path, content):
    broken = tmp_path / "workspace"
    shutil.copytree(folder, broken, symlinks=True)
    (broken / "metrics" / "train.json").write_text(content)
    done = run_stage(broken)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "metrics/train.json has no " in done.stderr and "images" in done.stderr


def test_it_logs_the_scores_to_the_run_log_of_the_training(folder):
    (run_log,) = RunLog.all(folder)
    scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
    assert run_log.value("point", "eval/fid", 0) == scores["fid"]


def test_a_second_run_writes_the_same_bytes(folder):
    files = list((folder / "metrics").rglob("*.*"))
    before = {path: path.read_bytes() for path in files}
    assert run_stage(folder).returncode == 0
    assert {path: path.read_bytes() for path in files} == before


def test_a_missing_input_is_one_line_and_exit_code_2(folder, tmp_path):
    broken = tmp_path / "workspace"
    shutil.copytree(folder, broken, symlinks=True)
    (broken / "samples" / "labels-idx1-ubyte").unlink()
    done = run_stage(broken)
    assert done.returncode == 2 and "labels-idx1-ubyte" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
