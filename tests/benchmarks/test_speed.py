"""benchmarks/speed.py with small networks and short measurements."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
SMALL = {"generator_width": 4, "discriminator_width": 4, "workers": 1, "batch_size": 8}


@pytest.fixture
def speed(tmp_path, mnist_dir, monkeypatch):
    """The module, in a workspace with the data."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(mnist_dir)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("speed")


@pytest.mark.parametrize("loop", ["ours", "tutorial"])
def test_a_measurement_gives_a_rate_and_the_peak_memory(speed, monkeypatch, loop):
    monkeypatch.setattr(speed, "SECONDS", 0.2)
    monkeypatch.setattr(speed, "WARM_UP_STEPS", 1)
    result = speed.measure_here(loop, SMALL)
    assert result["images_per_s"] > 0
    assert 50 < result["peak_mb"] < 10_000


def test_operations_of_a_forward_pass_are_those_that_pytorch_counts(speed):
    from dcgan.gan.training_outputs import summarize_networks

    trainer = speed.make_trainer(SMALL)
    clusters, latents = torch.zeros(4, dtype=torch.int64), torch.zeros(4, trainer.generator.arguments["latent_size"])
    calls = {
        "generator": lambda: trainer.generator(latents, clusters),
        "discriminator": lambda: trainer.discriminator(torch.zeros(4, 1, 28, 28), clusters),
    }
    for name, summary in summarize_networks(trainer).items():
        with FlopCounterMode(display=False) as counter:
            calls[name]()
        products = counter.get_flop_counts()["Global"].get(
            torch.ops.aten.bmm, 0
        )  # of the rendering, which has no weights
        assert speed.forward_flops(summary) == (counter.get_total_flops() - products) / 4


def test_without_data_the_benchmark_gives_one_line_and_code_2(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    command = [sys.executable, str(ROOT / "benchmarks/speed.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "train-images-idx3-ubyte is missing; run `dvc repro download`" in done.stderr
