"""The stage train: what it hands to the trainer."""

import pytest
import torch
from scripts import ROOT, load_stage

from dcgan.gan import trainer
from dcgan.support.errors import UserError


def test_the_trainer_gets_the_precision_that_was_resolved(tmp_path, monkeypatch, mnist_dir):
    """It compares with "bf16" by name: given "auto", it would train in float32 on every machine."""
    given = []

    def build_trainer(model, train, images, labels, device):
        given.append((train.precision, len(images), len(labels), device))
        raise UserError("enough")

    monkeypatch.setattr(trainer, "Trainer", build_trainer)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setenv("DCGAN_DEVICE", "cpu")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    assert "precision: auto" in text
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(mnist_dir)
    with pytest.raises(SystemExit):
        load_stage("train").main()
    assert given == [("bf16", 60_000, 60_000, "cpu")]
