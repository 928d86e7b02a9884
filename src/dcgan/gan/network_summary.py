"""The layers of a network, read by forward hooks from one forward pass."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One call of a module, in order of computation."""

    name: str  # its path in the network
    operation: str  # "ConvTranspose2d 4x4, stride 2"
    output: tuple[int, ...]  # shape without the batch dimension
    weights: tuple[tuple[int, ...], ...]  # shapes of its parameters

    @property
    def is_linear_map(self) -> bool:
        """Whether it is a dense layer or a convolution, not a norm or an activation."""
        return any(len(shape) > 1 for shape in self.weights)


@dataclass(frozen=True)
class NetworkSummary:
    inputs: tuple[str, ...]  # names of the arguments of `forward` that were passed
    input_shape: tuple[int, ...]  # what the first layer receives, without the batch dimension
    layers: tuple[Layer, ...]
    parameters: dict[str, tuple[int, ...]]  # name -> shape, all of them: some may belong to no layer


@torch.no_grad()
def summarize(network: nn.Module, *inputs: Tensor) -> NetworkSummary:
    """Run a copy of `network` on `inputs` and collect every module that computes something, in order of the calls."""
    network = copy.deepcopy(network).eval()
    received: list[Tensor] = []
    layers: list[Layer] = []

    def collect(name: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        received.append(arguments[0])
        weights = tuple(tuple(weight.shape) for weight in module.parameters())
        layers.append(Layer(name, _operation(module), tuple(output.shape[1:]), weights))

    for name, module in network.named_modules():
        is_leaf = next(module.children(), None) is None
        if is_leaf and not isinstance(module, nn.Identity):
            module.register_forward_hook(partial(collect, name))
    network(*inputs)
    names = tuple(inspect.signature(network.forward).parameters)[: len(inputs)]
    parameters = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    return NetworkSummary(names, tuple(received[0].shape[1:]), tuple(layers), parameters)


def diagram_blocks(summary: NetworkSummary) -> list[tuple[list[str], tuple[int, ...]]]:
    """The layers grouped for a diagram: each dense layer or convolution with the norm and the activation after it.

    Returns:
        the operations of each block and the shape of its output, without the batch dimension.
    """
    groups: list[list[Layer]] = []
    for layer in summary.layers:
        if layer.is_linear_map or not groups:
            groups.append([])
        groups[-1].append(layer)
    return [([layer.operation for layer in group], group[-1].output) for group in groups]


def table(summaries: dict[str, NetworkSummary]) -> str:
    """The networks as text: a line per layer with operation, output shape, weight shapes and parameter count."""
    lines = [_line("layer", "operation", "output", "weights", "parameters")]
    for network, summary in summaries.items():
        lines += ["", _line(f"{network}({', '.join(summary.inputs)})", "input", shape_text(summary.input_shape))]
        lines += [_layer_line(network, layer) for layer in summary.layers]
        called = {layer.name for layer in summary.layers}
        for name, shape in summary.parameters.items():
            if name.rpartition(".")[0] not in called:
                lines.append(_line(f"{network}.{name}", "Parameter", "", shape_text(shape), _count([shape])))
        lines.append(_line(network, "total", "", "", _count(summary.parameters.values())))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def shape_text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _operation(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return f"{name} {shape_text(module.kernel_size)}, stride {module.stride[0]}"
    return name


def _layer_line(network: str, layer: Layer) -> str:
    weights = ", ".join(map(shape_text, layer.weights))
    count = _count(layer.weights) if layer.weights else ""
    return _line(f"{network}.{layer.name}", layer.operation, shape_text(layer.output), weights, count)


def _line(layer: str, operation: str, output: str = "", weights: str = "", parameters: str = "") -> str:
    return f"{layer:<34}{operation:<32}{output:<12}{weights:<20}{parameters:>12}"


def _count(shapes: Sequence[tuple[int, ...]]) -> str:
    return f"{sum(torch.Size(shape).numel() for shape in shapes):,}"
