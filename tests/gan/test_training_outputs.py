import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gan.test_trainer import make_trainer, same, weights_of
from pictures import parts_of, read_png
from PIL import Image

from dcgan.gan.model_files import NETWORKS, load_network
from dcgan.gan.training_loop import TrainingHistory
from dcgan.gan.training_outputs import training_summary, write_networks, write_training_metrics


@pytest.fixture(scope="module")
def trained():
    """A trainer after 20 steps, with a row for each and two snapshots."""
    trainer, history = make_trainer(), TrainingHistory()
    for step in range(1, 21):
        trainer.step()
        history.rows.append({"step": step, "images": 16 * step} | trainer.pop_window())
    for seen in (320, 0):
        history.snapshots[seen] = np.full((100, 28, 28), seen % 256, dtype=np.uint8)
    return trainer, history


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """A workspace with the metrics and figures."""
    folder = tmp_path_factory.mktemp("written")
    write_training_metrics(*trained, {"precision": "fp32"}, folder)
    return folder


def test_the_summary_has_means_over_the_last_tenth_and_counts(trained):
    trainer, history = trained
    summary = training_summary(trainer, history)
    for name in ("loss_d", "acc_fake", "variety"):
        assert summary[name] == pytest.approx(np.mean([row[name] for row in history.rows[-2:]]), abs=1e-4)
    assert (summary["images"], summary["steps"], summary["warnings"]) == (320, 20, [])
    assert summary["generator_parameters"] == sum(tensor.numel() for tensor in trainer.generator.parameters())


def test_the_summary_repeats_the_warnings_of_the_training(trained):
    trainer, history = trained
    assert training_summary(trainer, replace(history, warnings=["collapsed"]))["warnings"] == ["collapsed"]


def test_metrics_and_figures_are_written_the_same_again(trained, written, tmp_path):
    write_training_metrics(*trained, {"precision": "fp32"}, tmp_path)
    found = {path.relative_to(written) for path in written.rglob("*") if path.is_file()}
    assert {str(path) for path in found} == {
        "metrics/train.json",
        "metrics/curves.csv",
        "metrics/progress/images-000000000.png",
        "metrics/progress/images-000000320.png",
        "metrics/training/animation.gif",
        "metrics/training/curves.png",
        "metrics/training/networks.png",
        "metrics/training/networks.txt",
        "metrics/training/untrained_trained_real.png",
    }
    assert [path for path in found if (written / path).read_bytes() != (tmp_path / path).read_bytes()] == []
    metrics = written / "metrics"
    assert json.loads((metrics / "train.json").read_text())["precision"] == "fp32"
    with open(metrics / "curves.csv", newline="") as stream:
        assert [int(row["images"]) for row in csv.DictReader(stream)] == list(range(16, 321, 16))
    with Image.open(metrics / "training/animation.gif") as animation:
        assert animation.n_frames == 2
        assert np.asarray(animation.convert("L"))[0, 0] == 0  # snapshots in the order of the images seen


def test_a_row_without_r1_has_an_empty_cell_and_does_not_count_in_its_mean(trained, tmp_path):
    """The penalty is computed every few steps, and log windows can be shorter."""
    trainer, history = trained
    rows = [{"step": 1, "images": 16, "loss_d": 1.0, "loss_g": 1.0, "acc_real": 0.5, "acc_fake": 0.5, "r1": 0.5}]
    rows = [row | {"grad_norm_d": 1.0, "grad_norm_g": 1.0, "variety": 1.0} for row in rows]
    rows += [{key: value for key, value in (rows[0] | {"step": 2, "images": 32}).items() if key != "r1"}]
    write_training_metrics(trainer, replace(history, rows=rows), {}, tmp_path)
    with open(tmp_path / "metrics/curves.csv", newline="") as stream:
        assert [row["r1"] for row in csv.DictReader(stream)] == ["0.5", ""]
    assert training_summary(trainer, replace(history, rows=rows * 10))["r1"] == 0.5


def test_untrained_trained_and_real_digits_stand_side_by_side(trained, written):
    untrained, final, real = parts_of(read_png(written / "metrics/training/untrained_trained_real.png"), 3)
    assert (untrained == 0).all() and (final == 320 % 256).all()
    trainer, _ = trained
    for label in range(10):
        first = trainer.images[trainer.labels == label][:10, 0].numpy()
        assert (real[label, : len(first)] == first).all()


def test_the_networks_are_written_as_they_can_be_loaded(trained, tmp_path):
    trainer, _ = trained
    write_networks(trainer, tmp_path)
    for name in ("generator", "discriminator"):
        network = load_network(tmp_path / f"models/{name}.safetensors", name)
        assert network.arguments == getattr(trainer, name).arguments
    generator, discriminator = (load_network(tmp_path / f"models/{name}.safetensors", name) for name in NETWORKS)
    assert same(weights_of(generator), weights_of(trainer.generator_ema.half().float()))
    assert same(weights_of(discriminator), weights_of(trainer.discriminator))
    program = torch.export.load(tmp_path / "models/generator.pt2").module()
    latents, labels = torch.randn(20, 8), torch.arange(20) % 10
    assert torch.allclose(program(latents, labels), generator(latents, labels), atol=1e-5)
