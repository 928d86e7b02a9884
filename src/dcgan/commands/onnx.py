"""`dcgan onnx`: the generator as an ONNX file, for people who do not have PyTorch."""

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.commands.generators import add_generator_option, chosen_generator
from dcgan.paths import user_path
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic

if TYPE_CHECKING:
    from dcgan.gan.networks import Generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=user_path, default="generator.onnx", help="file to write (default: generator.onnx)"
    )
    add_generator_option(parser)


def run(args: argparse.Namespace) -> None:
    _check_output(args.output)
    import onnx  # noqa: F401 - with onnxscript, what torch.onnx needs; here, so that the error names the package
    import onnxscript  # noqa: F401

    from dcgan.gan.model_files import load_network

    write_atomic(args.output, _onnx_bytes(load_network(chosen_generator(args), "generator")))
    print(args.output)


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise UserError(f"--output is {output}; choose a name that ends in .onnx")
    if not output.parent.is_dir():
        raise UserError(f"--output is {output}, but there is no folder {output.parent}; create it or choose another")


def _onnx_bytes(generator: "Generator") -> bytes:
    """The model. The same generator gives the same bytes, wherever they are made.

    Inputs are `latents`, float32 (N, latent_size), and, when conditional, `labels`, int64 (N,), for any N from 1 on.
    The output is `images`, float32 (N, 1, 28, 28) in [-1, 1].
    """
    import torch

    inputs: tuple = (torch.zeros(2, generator.arguments["latent_size"]),)  # 2: a batch of 1 would be a constant
    if generator.conditional:
        inputs += (torch.zeros(2, dtype=torch.long),)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            _exportable(generator),
            inputs,
            input_names=["latents", "labels"][: len(inputs)],
            output_names=["images"],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # contains this checkout's path: the bytes would depend on it
    return model.SerializeToString(deterministic=True)


def _exportable(generator: "Generator"):
    """With one cluster a class there is nothing to select it by: a sum over no bounds fails in onnxruntime on a GPU."""
    import torch

    if generator.clusters_per_class > 1:
        return generator

    class WithoutBounds(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = generator

        def forward(self, latents, labels=None):
            if labels is None:
                labels = torch.zeros_like(latents[:, 0], dtype=torch.int64)
            return self.generator.forward_clusters(latents, labels)

    return WithoutBounds().eval()
