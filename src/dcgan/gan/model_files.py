"""Trained networks as files: weights with the constructor arguments, and a self-contained export.

Weights are safetensors files: reading one executes no code.
"""

import io
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from dcgan.gan.networks import Discriminator, Generator
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic

NETWORKS = {"generator": Generator, "discriminator": Discriminator}
DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # as safetensors calls them


def save_network(path: str | os.PathLike, network: Generator | Discriminator) -> None:
    """Write the weights and the arguments that rebuild the network. The same network gives the same bytes."""
    name = next(name for name, cls in NETWORKS.items() if isinstance(network, cls))
    tensors = {key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()}
    header = json.dumps({"network": name, "arguments": network.arguments}, sort_keys=True)
    write_atomic(path, save(tensors, metadata={"dcgan": header}))


def load_network(path: str | os.PathLike, name: str) -> Generator | Discriminator:
    """Rebuild the network `name` ("generator" or "discriminator") from its file, in evaluation mode, without gradients.

    Names, shapes and types in the file are compared with the network's before any memory is allocated for either.

    Raises:
        UserError: no such file, not a safetensors file, not this network, or weights that do not fit.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no {name} at {path}; train one with `make repro`, or name another file")
    try:
        with safe_open(path, framework="pt") as file:
            header = _read_header(file)
            if header.get("network") != name:
                found = header.get("network") if header.get("network") in NETWORKS else "a network of another project"
                raise UserError(
                    f"{path} holds {found}, not a {name} of this project; name a file that the train stage wrote"
                )
            with torch.device("meta"):  # shapes without memory
                expected = NETWORKS[name](**header["arguments"]).state_dict()
            _check_tensors(file, expected)
            network = NETWORKS[name](**header["arguments"])
            network.load_state_dict({key: file.get_tensor(key) for key in expected})
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not a {name} that this project wrote ({reason}); train again or restore the file"
        ) from error
    return network.eval().requires_grad_(False)


def _read_header(file: safe_open) -> dict:
    header = json.loads((file.metadata() or {}).get("dcgan", "{}"))
    if not isinstance(header, dict):
        raise ValueError(f"its metadata is a {type(header).__name__}")
    return header


def _check_tensors(file: safe_open, expected: dict[str, torch.Tensor]) -> None:
    """Raise ValueError if names, shapes or types in `file` are not the expected ones; no tensor is read."""
    names = set(file.keys())
    if names != set(expected):
        missing, unknown = sorted(set(expected) - names), sorted(names - set(expected))
        raise ValueError(f"tensor {missing[0]} is missing" if missing else f"tensor {unknown[0]} is unknown")
    for name, tensor in expected.items():
        found = file.get_slice(name)
        here, wanted = (found.get_dtype(), list(found.get_shape())), (DTYPES[tensor.dtype], list(tensor.shape))
        if here != wanted:
            raise ValueError(f"tensor {name} is {here[0]} {here[1]}, not {wanted[0]} {wanted[1]}")


def export_generator(path: str | os.PathLike, generator: Generator) -> None:
    """Write the generator as a `torch.export` program, which loads and runs without this package.

    The program takes latents (N, latent_size) and, when conditional, labels (N,) int64, for any N from 1 to 1,000,000,
    and returns images (N, 1, 28, 28) in [-1, 1], on a CPU.
    """
    generator = _plain_copy(generator)
    inputs: tuple = (torch.zeros(2, generator.arguments["latent_size"]),)
    if generator.conditional:
        inputs += (torch.zeros(2, dtype=torch.long),)
    batch = torch.export.Dim("batch", min=1, max=1_000_000)
    program = torch.export.export(generator, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    for module in program.graph_module.modules():  # the whole program, and what it runs in float32
        for node in module.graph.nodes:
            node.meta.pop("stack_trace", None)  # contains this checkout's path: the bytes would depend on it
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomic(path, buffer.getvalue())


def _plain_copy(network: Generator) -> nn.Module:
    """The same network with contiguous weights on the CPU: the export must not depend on the training device."""
    twin = type(network)(**network.arguments)
    twin.load_state_dict({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()})
    return twin.eval().requires_grad_(False)
