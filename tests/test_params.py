"""params.yaml is checked as a whole, and every mistake is reported in one clear line."""

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


def test_the_committed_parameters_are_valid():
    assert load_params(COMMITTED).train.images >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(trian={}), "unknown key trian; did you mean train?"),
        (lambda v: v["train"].update(learning_rat=1), "unknown key train.learning_rat; did you mean learning_rate?"),
        (lambda v: v["sample"].update(zzz=1), "unknown key sample.zzz; known keys: seed, count, class_mix"),
        (lambda v: v["train"].pop("seed"), "train.seed is missing; every key is required"),
        (lambda v: v.pop("model"), "model is missing"),
        (lambda v: v["train"].update(seed="one"), "train.seed is 'one' and should be a valid integer"),
        (lambda v: v["train"].update(seed=True), "train.seed is True and should be a valid integer"),
        (lambda v: v["model"].update(conditional="yes"), "model.conditional is 'yes' and should be a valid boolean"),
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
        (
            lambda v: v["train"].update(batch_size=12, workers=2),
            "model.minibatch_std compares groups of 4 images, but a worker's shard of the batch has 6",
        ),
        (
            lambda v: (v["sample"].update(count=1999), v["evaluate"].update(images=1000)),
            "sample.count (1999) must be at least twice evaluate.images (1000)",
        ),
        (lambda v: v.update(train=None), "train is None and should be"),
    ],
)
def test_every_mistake_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(UserError) as caught:
        load_params(write(tmp_path, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("conditional", "largest"), [(True, 200), (False, 2000)])
def test_clusters_are_limited_over_all_classes(tmp_path, conditional, largest):
    def load(clusters_per_class: int):
        change = {"conditional": conditional, "clusters_per_class": clusters_per_class}
        return load_params(write(tmp_path, lambda v: v["model"].update(change))).model

    assert load(1).clusters == (10 if conditional else 1)
    assert load(largest).clusters == 2000
    with pytest.raises(UserError, match=rf"model\.clusters_per_class is {largest + 1} and .*{largest}") as caught:
        load(largest + 1)
    assert ("set model.conditional: false" in str(caught.value)) == conditional
    with pytest.raises(UserError, match=r"model\.clusters_per_class is 0 and should be greater than or equal to 1"):
        load(0)


@pytest.mark.parametrize("content", ["train: [", "", "- a list", "just text"])
def test_files_that_hold_no_parameters_are_named(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run_the_command(tmp_path):
    with pytest.raises(UserError, match="run this from the repository's root"):
        load_params(tmp_path / "params.yaml")


def test_the_command_lists_all_mistakes_in_one_line_and_ends_with_code_2(tmp_path):
    path = write(tmp_path, lambda v: (v["train"].update(seed=-1), v["sample"].update(count=1)))
    done = subprocess.run([sys.executable, "-m", "dcgan.cli", "params", path], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "train.seed is -1" in done.stderr
    assert "sample.count is 1" in done.stderr


def test_the_command_confirms_valid_parameters():
    done = subprocess.run([sys.executable, "-m", "dcgan.cli", "params", COMMITTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{COMMITTED}: OK\n", "")


def test_parameters_are_checked_without_loading_torch():
    """Importing torch takes seconds, and a mistake in params.yaml should be reported at once."""
    code = (
        "import sys; from dcgan.params import load_params; load_params(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, COMMITTED]).returncode == 0
