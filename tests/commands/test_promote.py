"""`dcgan promote` as a user runs it: the champion changes only for a model that the gate lets through."""

import json
import subprocess
from pathlib import Path

import pytest
from commands.scores_files import write_baseline, write_run
from generators import make_generator
from tracking.helpers import write_lock, write_workspace

from dcgan.cli import main
from dcgan.gan.model_files import save_network
from dcgan.paths import GENERATOR


@pytest.fixture
def workspace(root, store, tmp_path, monkeypatch) -> Path:
    """The workspace of a training of seed 1, with scores like those of the baseline; the store is empty."""
    save_network(tmp_path / "generator", make_generator())
    folder = write_workspace(root, (tmp_path / "generator").read_bytes())
    write_baseline(folder / "metrics", tmp_path / "scratch")
    write_run(folder / "metrics")
    write_lock(folder)
    (folder / "dvc.yaml").touch()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return folder


@pytest.fixture
def dcgan(capsys):
    def call(*arguments: str) -> subprocess.CompletedProcess:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    return call


def champion(store) -> str:
    return str(store.client.get_model_version_by_alias("dcgan", "champion").version)


def train_again(workspace: Path, weights: bytes, **scores: float) -> None:
    """Another model with these scores, as `dvc repro` leaves it."""
    write_workspace(workspace, weights)
    write_run(workspace / "metrics", **scores)
    write_lock(workspace)


def test_a_model_that_passes_the_gate_becomes_the_champion_and_draws(workspace, store, dcgan):
    for _ in range(2):
        done = dcgan("promote")
        assert (done.returncode, done.stderr) == (0, "")
        assert "relative_fid" in done.stdout or "FID" in done.stdout
        assert done.stdout.splitlines()[-1] == f"models:/dcgan@champion is version 1 in {store.uri}"
    assert champion(store) == "1"
    assert dcgan("draw", "2026", "--seed", "7", "-o", "own.png").returncode == 0
    GENERATOR.unlink()
    assert dcgan("draw", "2026", "--seed", "7", "--model", "models:/dcgan@champion", "-o", "served.png").returncode == 0
    assert Path("served.png").read_bytes() == Path("own.png").read_bytes()


def test_the_champion_is_replaced_by_a_later_model(workspace, store, dcgan):
    dcgan("promote")
    train_again(workspace, b"other weights", relative_fid=2.3)
    done = dcgan("promote")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(", in place of version 1")
    assert champion(store) == "2"


def test_a_regression_is_refused_with_the_table(workspace, store, dcgan):
    dcgan("promote")
    train_again(workspace, b"worse weights", relative_fid=4.8)
    done = dcgan("promote")
    assert done.returncode == 1
    assert "REGRESSION" in done.stdout and "4.8" in done.stdout
    assert done.stderr == (
        "error: this model is worse than the baseline, so dcgan@champion stays as it was; see the table\n"
    )
    assert champion(store) == "1"


def test_scores_that_cannot_be_compared_promote_nothing(workspace, store, dcgan):
    write_run(workspace / "metrics", {"images": 20000})
    write_lock(workspace)
    done = dcgan("promote")
    assert done.returncode == 2
    assert "not comparable: images is 20000" in done.stderr
    assert store.client.search_registered_models() == []


def test_scores_of_another_model_promote_nothing(workspace, store, dcgan):
    """`dvc repro train` alone leaves the scores of the model before."""
    locked = json.loads(Path("dvc.lock").read_text())
    GENERATOR.write_bytes(b"trained again")
    write_lock(workspace)
    renewed = json.loads(Path("dvc.lock").read_text())
    locked["stages"]["train"] = renewed["stages"]["train"]
    Path("dvc.lock").write_text(json.dumps(locked))
    done = dcgan("promote")
    assert done.returncode == 2
    assert "stage sample of dvc.lock was not run with the models/generator.safetensors there" in done.stderr
    Path("metrics/evaluate.json").unlink()
    assert "there is no metrics/evaluate.json" in dcgan("promote").stderr
    GENERATOR.unlink()
    assert "there is no models/generator.safetensors; train one" in dcgan("promote").stderr
    assert store.client.search_registered_models() == []


def test_a_store_that_is_down_is_named(workspace, dcgan, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = dcgan("promote")
    assert done.returncode == 2
    assert "cannot use the store http://127.0.0.1:9 (connection refused)" in done.stderr.lower()
    done = dcgan("draw", "1", "--model", "models:/dcgan@champion")
    assert done.returncode == 2 and "connection refused" in done.stderr.lower()
