"""The stage evaluate as DVC runs it: its outputs, what it logs, the same bytes again, and errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pictures import parts_of, read_png

from dcgan.data.mnist import load_split, write_idx
from dcgan.evaluation.evaluate import Digits
from dcgan.paths import NEAREST_TRAINING, REAL_BESIDE_GENERATED
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
    assert scores["protocol"]["evaluate_seed"] == params["evaluate"]["seed"]
    assert scores["protocol"]["n_generated"] == 200


def test_the_pictures_show_what_their_captions_say(folder, mnist_dir):
    """Real digits left, generated ones right. The samples are training images here, so each is its own nearest one."""
    report = (folder / "metrics" / "report.html").read_text()
    train, test = (Digits(*load_split(mnist_dir, split)) for split in ("train", "test"))
    assert "Real digits left, generated ones right" in report
    left, right = parts_of(read_png(folder / REAL_BESIDE_GENERATED), 2)
    assert (left == first_of_each_class(test)).all()
    assert (right == first_of_each_class(train.rows(slice(200)))).all()

    assert "Left: for each class, the two generated digits closest to a training image, each followed by" in report
    assert "Right: the same for test images" in report
    left, right = parts_of(read_png(folder / NEAREST_TRAINING), 2)
    assert (left[:, [0, 2]] == left[:, [1, 3]]).all() and left.any(axis=(2, 3)).all()
    assert all((train.images[:200] == digit).all(axis=(1, 2)).any() for digit in left[:, [0, 2]].reshape(-1, 28, 28))
    pairs = json.loads((folder / "models" / "digit_features.json").read_text())["closest_pairs"]
    assert (right[:, [0, 2]].reshape(-1, 28, 28) == test.images[pairs["test"]]).all()
    assert (right[:, [1, 3]].reshape(-1, 28, 28) == train.images[pairs["train"]]).all()


def first_of_each_class(digits: Digits) -> np.ndarray:
    """The first twelve of each class, black where there are fewer: uint8 [10, 12, 28, 28]."""
    rows = [digits.images[digits.labels == label][:12] for label in range(10)]
    return np.stack([np.pad(row, ((0, 12 - len(row)), (0, 0), (0, 0))) for row in rows])


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
    assert run_log.value("point", "eval/details/fid", 0) == scores["fid"]


def test_a_missing_input_is_one_line_and_exit_code_2(folder, tmp_path):
    broken = tmp_path / "workspace"
    shutil.copytree(folder, broken, symlinks=True)
    (broken / "samples" / "labels-idx1-ubyte").unlink()
    done = run_stage(broken)
    assert done.returncode == 2 and "labels-idx1-ubyte" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
