import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from generators import make_generator
from safetensors.torch import save_file

from dcgan.gan.model_files import export_generator, load_network, save_network
from dcgan.gan.networks import Discriminator
from dcgan.support.errors import UserError


def test_a_network_is_loaded_with_its_arguments_and_weights(tmp_path):
    for name, network in (
        ("generator", make_generator()),
        ("discriminator", Discriminator(8, 20, "batch", True, True)),
    ):
        save_network(tmp_path / name, network)
        loaded = load_network(tmp_path / name, name)
        assert loaded.arguments == network.arguments
        assert not loaded.training
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[key])


def test_channels_last_weights_are_saved_as_the_same_bytes(tmp_path):
    save_network(tmp_path / "a", make_generator())
    save_network(tmp_path / "b", make_generator().to(memory_format=torch.channels_last))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a model at all", "is not a generator that this project wrote"),
        (b"", "is not a generator that this project wrote"),
    ],
)
def test_an_unknown_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "generator.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_network(path, "generator")
    assert "\n" not in str(caught.value)


def test_a_pickle_in_disguise_is_refused_and_not_executed(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "generator.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="not a generator"):
        load_network(tmp_path / "generator.safetensors", "generator")
    assert not (tmp_path / "executed").exists()


def test_files_of_another_project_and_of_the_other_network_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(UserError, match="a network of another project"):
        load_network(tmp_path / "foreign", "generator")
    save_network(tmp_path / "d", Discriminator(8, 10, "none", True, True))
    with pytest.raises(UserError, match="holds discriminator, not a generator"):
        load_network(tmp_path / "d", "generator")
    with pytest.raises(UserError, match="there is no generator at"):
        load_network(tmp_path / "missing", "generator")


def test_a_truncated_file_is_refused(tmp_path):
    save_network(tmp_path / "g", make_generator())
    whole = (tmp_path / "g").read_bytes()
    (tmp_path / "g").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is not a generator"):
        load_network(tmp_path / "g", "generator")


def forge(path: Path, metadata: str, tensors: dict | None = None) -> Path:
    """A safetensors file with this project's metadata entry replaced."""
    save_file(make_generator().state_dict() if tensors is None else tensors, path, {"dcgan": metadata})
    return path


def with_arguments(**changes) -> str:
    return json.dumps({"network": "generator", "arguments": make_generator().arguments | changes})


@pytest.mark.parametrize(
    "metadata",
    [
        "[]", "5", "null", '"text"', "{", "[" * 100_000, "9" * 5000, "{}",
        '{"network": []}', '{"network": "generator"}', '{"network": "a\\nb"}',
        '{"network": "generator", "arguments": []}',
        '{"network": "generator", "arguments": null}',
        '{"network": "generator", "arguments": {"width": 8}}',
        '{"network": "generator", "arguments": {"a": 1}}',
    ],
)  # fmt: skip
def test_forged_metadata_is_refused_in_one_line(tmp_path, metadata):
    with pytest.raises(UserError, match="not a generator") as caught:
        load_network(forge(tmp_path / "g", metadata), "generator")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0}, {"width": -8}, {"width": 8.0}, {"width": "8"}, {"width": None}, {"width": 10**30}, {"width": 9},
        {"latent_size": 17}, {"latent_size": -4}, {"clusters_per_class": 0}, {"clusters_per_class": 21},
        {"clusters_per_class": 10**12}, {"conditional": False}, {"width": [8]}, {"width": float("nan")},
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_the_weights_are_refused_in_one_line(tmp_path, changes):
    with pytest.raises(UserError, match="is not a generator that this project wrote") as caught:
        load_network(forge(tmp_path / "g", with_arguments(**changes)), "generator")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("up1.weight"), r"tensor up1\.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "tensor extra is unknown"),
        (lambda t: t.update({"norm1.bias": torch.zeros(65)}), r"norm1\.bias is F32 \[65\], not F32 \[64\]"),
        (lambda t: t.update({"norm1.bias": torch.zeros(64).double()}), r"norm1\.bias is F64 \[64\], not F32 \[64\]"),
    ],
)
def test_tensors_of_another_network_are_named(tmp_path, change, message):
    tensors = dict(make_generator().state_dict())
    change(tensors)
    with pytest.raises(UserError, match=message):
        load_network(forge(tmp_path / "g", with_arguments(), tensors), "generator")


def peak_mb() -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resets the peak in Linux's /proc")
@pytest.mark.parametrize("width", [600, 20_000])
def test_a_small_file_that_claims_a_large_network_takes_no_memory(tmp_path, width):
    path = forge(tmp_path / "g", with_arguments(width=width), {"dense.weight": torch.zeros(6000)})
    assert path.stat().st_size < 30_000
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    with pytest.raises(UserError, match="is not a generator that this project wrote"):
        load_network(path, "generator")
    assert peak_mb() - before < 50


USE_WITHOUT_THE_PACKAGE = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
latents = torch.load(sys.argv[2], weights_only=True)
for size in (1, 5):
    inputs = (latents[:size], torch.arange(size)) if sys.argv[4] == "True" else (latents[:size],)
    torch.save(program(*inputs).detach(), f"{sys.argv[3]}-{size}")
"""


@pytest.mark.parametrize("conditional", [True, False])
def test_the_export_runs_in_a_process_without_this_package(tmp_path, conditional):
    generator = make_generator(conditional)
    export_generator(tmp_path / "generator.pt2", generator)
    latents = torch.randn(5, 16)
    torch.save(latents, tmp_path / "latents")
    # -I ignores PYTHONPATH, and the None in sys.modules makes an installed package fail to import
    code = "import sys; sys.modules['dcgan'] = None" + USE_WITHOUT_THE_PACKAGE
    arguments = [tmp_path / "generator.pt2", tmp_path / "latents", tmp_path / "out", str(conditional)]
    subprocess.run([sys.executable, "-I", "-c", code, *map(str, arguments)], check=True, cwd=tmp_path)
    for size in (1, 5):
        expected = generator(latents[:size], torch.arange(size))
        assert torch.allclose(torch.load(tmp_path / f"out-{size}", weights_only=True), expected, atol=1e-5)


def test_exports_are_identical_bytes_and_contain_no_local_path(tmp_path):
    for name in ("a", "b"):
        export_generator(tmp_path / name, make_generator())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert not [
            name for name in archive.namelist() if str(Path(__file__).parents[2]).encode() in archive.read(name)
        ]
