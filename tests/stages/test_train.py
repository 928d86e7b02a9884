"""The stage train: what it hands to the trainer."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scripts import ROOT, load_stage

from dcgan.gan import trainer
from dcgan.gan.finished_training import note_finished
from dcgan.gan.training_session import session_folder
from dcgan.paths import GENERATOR, local_state
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic
from dcgan.tracking.run_log import RunLog


@pytest.fixture
def workspace(tmp_path, monkeypatch, mnist_dir) -> Path:
    """The current folder, with the parameters and the data that the stage reads."""
    monkeypatch.setenv("DCGAN_DEVICE", "cpu")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(mnist_dir)
    return tmp_path


def test_the_trainer_gets_the_precision_that_was_resolved(workspace, monkeypatch):
    """It compares with "bf16" by name: given "auto", it would train in float32 on every machine."""
    given = []

    def build_trainer(model, train, images, labels, device, processes):
        given.append((train.precision, len(images), len(labels), device))
        raise UserError("enough")

    monkeypatch.setattr(trainer, "Trainer", build_trainer)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert "precision: auto" in (workspace / "params.yaml").read_text()
    with pytest.raises(SystemExit):
        load_stage("train").main()
    assert given == [("bf16", 60_000, 60_000, "cpu")]


@pytest.mark.parametrize("is_finished", [False, True])
def test_the_environment_is_that_of_the_training_not_of_a_later_writing_of_its_outputs(
    workspace, monkeypatch, is_finished
):
    """A finished training may have run at another commit, in another experiment, with other libraries."""

    def stop_here(*_):
        raise UserError("enough")

    stage = load_stage("train")
    monkeypatch.setattr(trainer, "Trainer", lambda *_: SimpleNamespace(workers=2))
    monkeypatch.setattr(stage, "training_fingerprint", lambda *_: "f" * 16)
    monkeypatch.setattr(stage, "log_training_parameters", stop_here)
    monkeypatch.setenv("DVC_STAGE", "train")
    if is_finished:
        write_atomic(workspace / GENERATOR, b"weights")
        note_finished(session_folder(local_state(workspace), "f" * 16), workspace)
    with pytest.raises(SystemExit):
        stage.main()
    (run_log,) = RunLog.all(workspace)
    assert ("host" in run_log.tags) is not is_finished
    assert (("file", "environment.json") in run_log.logged("file")) is not is_finished
