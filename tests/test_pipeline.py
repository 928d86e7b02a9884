"""The real `dvc repro` on real MNIST with a small budget, in a temporary clone."""

import json
import re
from pathlib import Path

import pytest
from clones import change_params, make_clone, results, run


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, mnist_dir) -> tuple[Path, str]:
    """A clone in which `dvc repro` ran once, and what it printed."""
    folder = make_clone(tmp_path_factory.mktemp("pipeline"), mnist_dir)
    done = run(folder, "dvc", "repro")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "ran")
    return folder, done.stdout + done.stderr


def test_every_stage_ran_and_left_its_files(pipeline):
    folder, printed = pipeline
    assert re.findall(r"Running stage '(\w+)'", printed) == ["download", "train", "sample", "evaluate"]
    for name in (
        "models/generator.safetensors",
        "models/discriminator.safetensors",
        "models/generator.pt2",
        "metrics/curves.csv",
        "metrics/progress/images-000000000.png",
        "metrics/progress/images-000003200.png",
        "metrics/progress/images-000006400.png",
        "metrics/training/animation.gif",
        "metrics/training/networks.txt",
        "samples/images-idx3-ubyte",
        "samples/labels-idx1-ubyte",
        "samples/grid.png",
        "metrics/report.html",
    ):
        assert (folder / name).stat().st_size > 0, name


def test_the_scores_are_finite_and_say_how_they_were_made(pipeline):
    folder, _ = pipeline
    scores = json.loads((folder / "metrics/evaluate.json").read_text())
    assert scores["fid"] > scores["fid_real"] > 0
    assert scores["relative_fid"] > 1
    for name in ("precision", "recall", "coverage", "agreement", "cas"):
        assert 0 <= scores[name] <= 1
    assert scores["protocol"]["sample_seed"] == 1000
    train = json.loads((folder / "metrics/train.json").read_text())
    assert train["images"] == 6400
    assert train["precision"] == "fp32"


def test_samples_are_a_data_set_that_torchvision_reads(pipeline, tmp_path):
    from torchvision.datasets import MNIST

    folder, _ = pipeline
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{split}-{kind}-ubyte").write_bytes((folder / f"samples/{kind}-ubyte").read_bytes())
    data = MNIST(tmp_path, train=True)
    assert len(data) == 2000
    assert data[0][0].size == (28, 28)
    assert sorted(set(data.targets.tolist())) == list(range(10))


def test_a_second_repro_runs_nothing(pipeline):
    folder, _ = pipeline
    assert "Running stage" not in run(folder, "dvc", "repro").stdout


def test_a_forced_run_gives_the_same_bytes_and_a_clean_status(pipeline):
    folder, _ = pipeline
    before = results(folder)
    run(folder, "dvc", "repro", "-f", "--single-item", "train")
    run(folder, "dvc", "repro", "-f", "--single-item", "sample")
    run(folder, "dvc", "repro", "-f", "--single-item", "evaluate")
    after = results(folder)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []
    assert run(folder, "git", "status", "--porcelain").stdout == ""


def test_changing_the_sample_count_does_not_change_the_training(pipeline):
    folder, _ = pipeline
    done = run(folder, "dvc", "repro", "--dry", "-s", "train", check=False)
    assert "Running stage" not in done.stdout
    change_params(folder, {"sample": {"count": 1000}})
    done = run(folder, "dvc", "repro", "--dry")
    run(folder, "git", "checkout", "-q", "params.yaml")
    assert "'train'" not in done.stdout.replace("Stage 'train' didn't change", "")
    assert "'sample'" in done.stdout
