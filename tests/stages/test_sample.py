"""The stage sample: which latents and labels it draws, and what it writes."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml
from generators import make_generator
from pictures import digits_of, read_png
from scripts import ROOT, load_stage

from dcgan.data.mnist import read_idx
from dcgan.gan.model_files import save_network
from dcgan.gan.sampling import generate, label_sequence, latent_walk, latents

OUTPUTS = ("images-idx3-ubyte", "labels-idx1-ubyte", "grid.png", "walk.png")
COUNT = 300


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Runs the stage in an empty workspace, with changed parameters, and returns its outputs by name."""
    stage = load_stage("sample")
    monkeypatch.setattr(stage, "publishing", lambda root: nullcontext())
    monkeypatch.setattr(stage, "log_samples", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)

    def run(conditional: bool = True, **changes: dict) -> dict[str, bytes]:
        save_network("models/generator.safetensors", make_generator(conditional))
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["sample"] |= {"count": COUNT, "seed": 5, "threads": 1}
        params["evaluate"]["images"] = 100
        for section, values in changes.items():
            params[section] |= values
        Path("params.yaml").write_text(yaml.safe_dump(params))
        with pytest.raises(SystemExit) as ended:
            stage.main()
        assert ended.value.code == 0
        return {path.name: path.read_bytes() for path in Path("samples").iterdir()}

    return run


def test_images_and_labels_are_those_of_sample_seed(sample):
    sample()
    labels = label_sequence(COUNT, "mnist", seed=5)
    expected = generate(make_generator(), latents(COUNT, 16, seed=5), labels)
    images = read_idx("samples/images-idx3-ubyte")
    assert (images == expected).all() and len(np.unique(images, axis=0)) == COUNT
    assert (read_idx("samples/labels-idx1-ubyte") == labels.numpy()).all()


def test_only_the_seed_of_the_sample_section_selects_the_digits(sample):
    outputs = sample()
    assert set(outputs) == {*OUTPUTS}
    assert sample(train={"seed": 77}, evaluate={"seed": 77, "images": 100}) == outputs
    other = sample(sample={"count": COUNT, "seed": 6, "threads": 1})
    assert [name for name in OUTPUTS if other[name] == outputs[name]] == []


def test_the_class_mix_is_the_one_in_the_parameters(sample):
    sample(sample={"count": COUNT, "seed": 5, "threads": 1, "class_mix": "balanced"})
    assert np.bincount(read_idx("samples/labels-idx1-ubyte")).tolist() == [30] * 10


def test_the_grid_has_a_row_per_digit_and_the_walk_is_that_of_sample_seed(sample):
    sample()
    images, labels = read_idx("samples/images-idx3-ubyte"), read_idx("samples/labels-idx1-ubyte")
    rows = digits_of(read_png("samples/grid.png"))
    assert rows.shape == (10, 20, 28, 28)
    for label in range(10):
        first = images[labels == label][:20]
        assert (rows[label, : len(first)] == first).all() and not rows[label, len(first) :].any()
    walk = digits_of(read_png("samples/walk.png"))
    assert (walk.reshape(200, 28, 28) == latent_walk(make_generator(), seed=5, steps=20)).all()


def test_the_plain_dcgan_writes_no_labels(sample):
    outputs = sample(conditional=False, model={"conditional": False})
    assert set(outputs) == {*OUTPUTS} - {"labels-idx1-ubyte"}
