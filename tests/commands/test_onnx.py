"""`dcgan onnx`: the model that onnxruntime runs is the generator."""

import sys

import numpy as np
import pytest
import torch
from clones import ROOT
from generators import make_generator

from dcgan.cli import main
from dcgan.gan.model_files import load_network, save_network
from dcgan.gan.sampling import latents, to_uint8
from dcgan.paths import READY_MADE_GENERATOR


def onnx(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["onnx", *map(str, arguments)])
    return ended.value.code, *capsys.readouterr()


def drawn_by_both(generator, path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in [-1, 1] of this generator by PyTorch, and by onnxruntime from the file, in batches of three sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    z, labels = latents(count, generator.arguments["latent_size"], 0), torch.arange(count) % 10
    inputs = {"latents": z.numpy()} | ({"labels": labels.numpy()} if generator.conditional else {})
    assert {entry.name for entry in session.get_inputs()} == set(inputs)
    pieces = [slice(0, 1), slice(1, 8), *(slice(start, start + 500) for start in range(8, count, 500))]
    found = [session.run(["images"], {name: rows[part] for name, rows in inputs.items()})[0] for part in pieces]
    with torch.inference_mode():
        expected = [generator(z[part], labels[part] if generator.conditional else None) for part in pieces]
    return torch.cat(expected).numpy(), np.concatenate(found)


def digits_that_differ(expected: np.ndarray, found: np.ndarray) -> int:
    """Digits with a pixel that differs by more than one gray level."""
    levels = [to_uint8(torch.from_numpy(images)).astype(int) for images in (expected, found)]
    return int((np.abs(levels[0] - levels[1]) > 1).any(axis=(1, 2)).sum())


@pytest.mark.extended
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"canvas": False},
        {"clusters_per_class": 1},
        {"conditional": False},
        {"conditional": False, "clusters_per_class": 1},
    ],
)
def test_onnxruntime_draws_what_pytorch_draws(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    generator = make_generator(**kind)
    if not generator.canvas:
        generator.up3.weight.data *= 30  # as initialized, it draws little but gray
    if generator.clusters_per_class > 1:
        generator.set_cluster_frequencies(torch.arange(1, generator.clusters + 1))
    save_network("models/generator.safetensors", generator)
    assert onnx(capsys)[:2] == (0, "generator.onnx\n")
    expected, found = drawn_by_both(generator, "generator.onnx", 508)
    assert expected.std() > 0.05
    assert np.abs(expected - found).mean() < 1e-5
    assert digits_that_differ(expected, found) == 0


@pytest.mark.extended
def test_the_ready_made_generator_is_exact_to_the_gray_level(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert onnx(capsys, "--generator", READY_MADE_GENERATOR)[0] == 0
    generator = load_network(READY_MADE_GENERATOR, "generator")
    expected, found = drawn_by_both(generator, "generator.onnx", 2008)
    assert np.abs(expected - found).mean() < 1e-6
    assert digits_that_differ(expected, found) == 0


@pytest.mark.extended
def test_its_rounding_errors_are_no_larger_than_those_of_pytorch(tmp_path, monkeypatch, capsys):
    """Both round to float32 in their own order, so neither is the other's reference: the same network in float64 is."""
    monkeypatch.chdir(tmp_path)
    assert onnx(capsys, "--generator", READY_MADE_GENERATOR)[0] == 0
    generator = load_network(READY_MADE_GENERATOR, "generator")
    pytorch, found = drawn_by_both(generator, "generator.onnx", 108)
    z, labels = latents(108, generator.arguments["latent_size"], 0), torch.arange(108) % 10
    with torch.inference_mode():
        exact = generator.double()(z.double(), labels).numpy()
    errors = np.abs(found - exact)
    assert errors.mean() < 1e-7 and errors.max() < 1e-4  # in [-1, 1], where a gray level is 8e-3
    assert errors.mean() < 1.5 * np.abs(pytorch - exact).mean()


@pytest.mark.extended
def test_the_bytes_are_the_same_and_contain_no_local_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_network("models/generator.safetensors", make_generator(clusters_per_class=1))
    for name in ("a.onnx", "b.onnx"):
        assert onnx(capsys, "-o", name)[0] == 0
    model = (tmp_path / "a.onnx").read_bytes()
    assert model == (tmp_path / "b.onnx").read_bytes()
    assert str(ROOT).encode() not in model and b".py" not in model


def test_mistakes_are_one_line_and_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["-o", "x.pt"], "--output is x.pt; choose a name that ends in .onnx"),
        (["-o", "nowhere/x.onnx"], "there is no folder nowhere; create it"),
    ):
        code, _, error = onnx(capsys, *arguments)
        assert code == 2 and message in error and error.count("\n") == 1


def test_without_its_packages_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.chdir(tmp_path)
    code, _, error = onnx(capsys)
    assert code == 2
    assert "the package onnx is not installed" in error and "pip install 'FILE.whl[onnx]'" in error
