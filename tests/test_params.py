"""params.yaml is checked as a whole, and every mistake is reported in one clear line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clones import run

from dcgan.params import Params, load_params
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
        (lambda v: (v.pop("model"), v["train"].pop("seed")), "model, train.seed are missing; every key is required"),
        (lambda v: v["train"].update(seed="one"), "train.seed is 'one', but should be a valid integer"),
        (lambda v: v["train"].update(seed=True), "train.seed is True, but should be a valid integer"),
        (lambda v: v["train"].update(images=1200.5), "train.images is 1200.5, but should be a valid integer"),
        (lambda v: v["model"].update(conditional="yes"), "model.conditional is 'yes', but should be a valid boolean"),
        (lambda v: v["train"].update(learning_rate=0), "train.learning_rate is 0, but should be greater than 0"),
        (lambda v: v["train"].update(beta1=1.0), "train.beta1 is 1.0, but should be less than 1"),
        (lambda v: v["train"].update(learning_rate=float("nan")), "train.learning_rate is nan"),
        (
            lambda v: v["train"].update(precision="fp16"),
            "train.precision is 'fp16', but should be 'auto', 'bf16' or 'fp32'",
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
        (lambda v: v.update(train=None), "train is None, but should be"),
    ],
)
def test_every_mistake_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(UserError) as caught:
        load_params(write(tmp_path, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_number_may_be_written_as_a_float(tmp_path):
    path = write(tmp_path, lambda v: None)
    path.write_text(re.sub(r"images: 600000\b", "images: 6e5", path.read_text()))
    assert "6e5" in path.read_text()
    assert type(load_params(path).train.images) is int and load_params(path).train.images == 600_000


@pytest.mark.parametrize(("conditional", "largest"), [(True, 200), (False, 2000)])
def test_clusters_are_limited_over_all_classes(tmp_path, conditional, largest):
    def load(clusters_per_class: int):
        change = {"conditional": conditional, "clusters_per_class": clusters_per_class}
        return load_params(write(tmp_path, lambda v: v["model"].update(change))).model

    assert load(1).clusters == (10 if conditional else 1)
    assert load(largest).clusters == 2000
    with pytest.raises(UserError, match=rf"model\.clusters_per_class is {largest + 1}, but .*{largest}") as caught:
        load(largest + 1)
    assert ("set model.conditional: false" in str(caught.value)) == conditional
    with pytest.raises(UserError, match=r"model\.clusters_per_class is 0, but should be greater than or equal to 1"):
        load(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is empty, but every key is required; restore it: git checkout params\.yaml"),
        ("# only a comment", "is empty"),
        ("- a list", "is a list, but must be the sections download, model, train, sample, evaluate"),
        ("just text", "is a str, but must be the sections"),
        ("train: [", r"is not valid YAML \(.*, line 1\)"),
    ],
)
def test_files_that_hold_no_parameters_are_named(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"params\.yaml {message}") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*params\.yaml: No such file"):
        load_params(tmp_path / "params.yaml")


def test_a_doubled_key_is_an_error_and_not_a_silent_choice(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED.read_text().replace("  batch_size:", "  seed: 3\n  batch_size:"))
    with pytest.raises(UserError, match=r'found duplicate key "seed" with value "3" \(original value: "1"\), line \d+'):
        load_params(path)


# A valid choice of all keys from which each bound can be reached without a conflict with another key.
ROOMY = {
    "train": {"batch_size": 64, "workers": 1, "images": 8192},
    "model": {"minibatch_std": False, "conditional": False},
    "sample": {"count": 20_000},
}
MAX_SEED = 2**31 - 1


@pytest.mark.parametrize(
    ("key", "below", "lowest", "highest", "above"),
    [
        ("model.clusters_per_class", 0, 1, 2000, 2001),
        ("model.latent_size", 2, 3, 4096, 4097),
        ("model.generator_width", 0, 1, 1024, 1025),
        ("model.discriminator_width", 0, 1, 1024, 1025),
        ("train.seed", -1, 0, MAX_SEED, MAX_SEED + 1),
        ("train.images", 63, 64, 10**12, float("inf")),
        ("train.batch_size", 1, 2, 8192, 8193),
        ("train.learning_rate", 0, 1e-300, 1 - 1e-9, 1),
        ("train.beta1", -1e-9, 0, 1 - 1e-9, 1),
        ("train.beta2", -1e-9, 0, 1 - 1e-9, 1),
        ("train.decay_from", -1e-9, 0, 1, 1 + 1e-9),
        ("train.r1_gamma", -1e-9, 0, 1e6, float("inf")),
        ("train.r1_every", 0, 1, 10**9, float("inf")),
        ("train.ema_half_life", -1e-9, 0, 1e12, float("inf")),
        ("train.workers", 0, 1, 64, 65),
        ("train.snapshots", 1, 2, 1000, 1001),
        ("sample.seed", -1, 0, MAX_SEED, MAX_SEED + 1),
        ("sample.count", 19_999, 20_000, 1_000_000, 1_000_001),
        ("sample.threads", 0, 1, 64, 65),
        ("evaluate.seed", -1, 0, MAX_SEED, MAX_SEED + 1),
        ("evaluate.images", 99, 100, 10_000, 10_001),
    ],
)
def test_every_bound_is_kept_on_both_sides(tmp_path, key, below, lowest, highest, above):
    section, name = key.split(".")

    def load(value):
        def change(values):
            for part, entries in ROOMY.items():
                values[part] |= entries
            values[section][name] = value

        return getattr(getattr(load_params(write(tmp_path, change)), section), name)

    assert load(lowest) == lowest
    assert load(highest) == highest
    for value in (below, above):
        with pytest.raises(UserError, match=rf"{section}\.{name}( is |\s\()"):
            load(value)


def test_every_number_in_the_schema_has_its_bounds_tested():
    (mark,) = [mark for mark in test_every_bound_is_kept_on_both_sides.pytestmark if mark.name == "parametrize"]
    numbers = {
        f"{section}.{name}"
        for section, field in Params.model_fields.items()
        for name, entry in field.annotation.model_fields.items()
        if entry.annotation in (int, float)
    }
    assert {row[0] for row in mark.args[1]} == numbers


def test_the_sections_must_fit_together_on_both_sides(tmp_path):
    """sample.count is at least twice evaluate.images; a worker's shard holds whole groups of 4 images."""
    both = [(1999, 1000, False), (2000, 1000, True), (2001, 1000, True)]
    for count, images, fits in both:
        path = write(tmp_path, lambda v: (v["sample"].update(count=count), v["evaluate"].update(images=images)))  # noqa: B023
        if fits:
            assert load_params(path).sample.count == count
        else:
            with pytest.raises(UserError, match=r"must be at least twice evaluate\.images"):
                load_params(path)
    for batch_size, fits in ((8, True), (10, False), (12, False), (16, True)):
        path = write(tmp_path, lambda v: v["train"].update(batch_size=batch_size, workers=2))  # noqa: B023
        if fits:
            assert load_params(path).train.batch_size == batch_size
        else:
            with pytest.raises(UserError, match=r"model\.minibatch_std compares groups of 4"):
                load_params(path)


@pytest.mark.parametrize(
    ("written", "value"), [("5e-05", 5e-05), ("1e-3", 1e-3), ("2e-1", 0.2), ("1.5E-4", 1.5e-4), (".5", 0.5)]
)
def test_numbers_with_an_exponent_are_numbers(tmp_path, written, value):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"learning_rate: \S+", f"learning_rate: {written}", COMMITTED.read_text()))
    assert load_params(path).train.learning_rate == value


def test_dvc_exp_run_sets_a_number_that_it_writes_with_an_exponent(tmp_path):
    """The real command, with `dcgan params` as the only stage."""
    (tmp_path / "params.yaml").write_bytes(COMMITTED.read_bytes())
    (tmp_path / "dvc.yaml").write_text("stages: {check: {cmd: python -m dcgan.cli params, params: [train]}}\n")
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "start")
    changes = ["-S", "train.learning_rate=0.00005", "-S", "train.ema_half_life=10000000000000000.0"]
    done = run(tmp_path, "dvc", "exp", "run", *changes)
    assert "params.yaml: OK" in done.stdout
    written = (tmp_path / "params.yaml").read_text()
    assert "learning_rate: 5e-05" in written and "ema_half_life: 1e+16" in written
    train = load_params(tmp_path / "params.yaml").train
    assert (train.learning_rate, train.ema_half_life) == (0.00005, 1e16)


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
