import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dcgan.params import load_params
from dcgan.support.errors import UserError

COMMITTED = Path(__file__).parents[1] / "params.yaml"


def write(tmp_path, change) -> Path:
    values = yaml.safe_load(COMMITTED.read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_committed_parameters_are_fine():
    assert load_params(COMMITTED).train.images >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(trian={}), "unknown key trian; did you mean train?"),
        (lambda v: v["train"].update(learning_rat=1), "unknown key train.learning_rat; did you mean learning_rate?"),
        (lambda v: v["sample"].update(zzz=1), "unknown key sample.zzz; known are seed, count, class_mix"),
        (lambda v: v["train"].pop("seed"), "train.seed is missing; every key stands in params.yaml"),
        (lambda v: v.pop("model"), "model is missing"),
        (lambda v: v["train"].update(seed="one"), "train.seed is 'one' and should be a valid integer"),
        (lambda v: v["train"].update(seed=True), "train.seed is True and should be a valid integer"),
        (lambda v: v["model"].update(conditional="yes"), "model.conditional is 'yes' and should be a valid boolean"),
        (lambda v: v["model"].update(clusters=25), "model.clusters (25) must be a multiple of 10"),
        (lambda v: v["train"].update(learning_rate=0), "train.learning_rate is 0 and should be greater than 0"),
        (lambda v: v["train"].update(beta1=1.0), "train.beta1 is 1.0 and should be less than 1"),
        (lambda v: v["train"].update(learning_rate=float("nan")), "train.learning_rate is nan"),
        (
            lambda v: v["train"].update(precision="fp16"),
            "train.precision is 'fp16' and should be 'auto', 'bf16' or 'fp32'",
        ),
        (
            lambda v: v["train"].update(batch_size=64, workers=3),
            "train.batch_size (64) must be a multiple of train.workers (3)",
        ),
        (lambda v: v["train"].update(images=10), "train.images (10) is less than train.batch_size"),
        (lambda v: v["train"].update(batch_size=12, workers=2), "model.minibatch_std compares groups of 4 images"),
        (lambda v: v.update(train=None), "train is None and should be"),
    ],
)
def test_each_mistake_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(UserError) as caught:
        load_params(write(tmp_path, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["train: [", "", "- a list", "just text"])
def test_files_that_are_no_parameters(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_the_command_tells_all_mistakes_in_a_line_and_ends_with_code_2(tmp_path):
    path = write(tmp_path, lambda v: (v["train"].update(seed=-1), v["sample"].update(count=1)))
    done = subprocess.run([sys.executable, "-m", "dcgan.cli", "params", path], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "train.seed is -1" in done.stderr
    assert "sample.count is 1" in done.stderr


def test_a_missing_file_says_where_to_be(tmp_path):
    with pytest.raises(UserError, match="run this from the repository's root"):
        load_params(tmp_path / "params.yaml")
