"""The real `dvc repro` on real MNIST with a small budget, in a temporary clone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    "model": {"generator_width": 8, "discriminator_width": 8, "latent_size": 8},
    "train": {"images": 6400, "snapshots": 3, "precision": "fp32"},
    "sample": {"count": 2000},
    "evaluate": {"images": 500},
}


def run(folder: Path, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "MLFLOW", "DCGAN", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    identity = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    everything = clean | identity | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | environment
    done = subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def change_params(folder: Path, change: dict) -> None:
    path = folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    for section, entries in change.items():
        values[section] |= entries
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def make_clone(folder: Path, mnist: Path) -> Path:
    """A repository of its own with this checkout's tracked files as they are now, and small parameters."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "dvc.lock", "metrics/")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode)
    change_params(folder, SMALL | {"download": {"mirror": str(mnist)}})
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "start")
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, mnist_dir) -> tuple[Path, str]:
    """A clone in which `dvc repro` ran once, and what it printed."""
    folder = make_clone(tmp_path_factory.mktemp("pipeline"), mnist_dir)
    done = run(folder, "dvc", "repro")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "ran")
    return folder, done.stdout + done.stderr


def results(folder: Path) -> dict[str, bytes]:
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    outs = [out["path"] for stage in lock.values() for out in stage["outs"]]
    files = [path for out in outs for path in ([folder / out] if (folder / out).is_file() else (folder / out).rglob("*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


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
