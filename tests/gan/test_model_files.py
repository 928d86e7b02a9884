import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dcgan.gan.model_files import export_generator, load_network, save_network
from dcgan.gan.networks import Discriminator, Generator
from dcgan.support.errors import UserError


def make_generator(conditional: bool = True) -> Generator:
    torch.manual_seed(0)
    return Generator(16, 8, conditional, 20).eval()


def test_a_network_is_loaded_with_its_arguments_and_weights(tmp_path):
    for name, network in (("generator", make_generator()), ("discriminator", Discriminator(8, 20, "batch", True))):
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
    save_network(tmp_path / "d", Discriminator(8, 10, "none", True))
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
