"""A network as an INT8 processor computes it: rounded tensors, whole-number products.

Products of rounded values are summed as whole numbers, in float32 below 2^24 and in float64 else,
where every order of summation gives the same sum. So the same input gives the same bits with any
number of threads and in batches of any size.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from autosinian.encodings.encoding import Encoding, Encodings
from autosinian.encodings.placement import named_nodes, source
from autosinian.errors import InputError

_EXACT = float(2**24)  # up to here float32 holds every whole number


class Round(nn.Module):
    """Rounds a tensor to an encoding's grid, to nearest and even, and clips it to its range."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.scale: float = float(torch.tensor(encoding.scale, dtype=torch.float32))
        self.lowest = encoding.lowest
        self.highest = encoding.highest

    def forward(self, values: Tensor) -> Tensor:
        """`values`, any shape, on the grid."""
        whole = torch.round(values / self.scale).clamp(self.lowest, self.highest)
        return whole * self.scale


class WholeLayer(nn.Module):
    """A convolution or fully connected layer whose inputs and weights lie on grids."""

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, weight: tuple[Encoding, ...], given: Encoding
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.given_scale: float = float(torch.tensor(given.scale, dtype=torch.float32))
        whole, scales = whole_weights(layer.weight.detach(), weight)
        self.layer.weight = nn.Parameter(whole, requires_grad=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), False)
        self.layer.bias = None
        self.register_buffer("scales", scales * self.given_scale)
        reach = max(abs(given.lowest), abs(given.highest))
        self.chunks = _exact_chunks(self.layer, whole, reach)

    def forward(self, values: Tensor) -> Tensor:
        """What the layer gives, in float32."""
        whole = torch.round(values / self.given_scale)
        total = self._sum(whole)
        assert isinstance(self.scales, Tensor)
        shape = (1, -1, 1, 1) if isinstance(self.layer, nn.Conv2d) else (-1,)
        result = total.float() * self.scales.reshape(shape)
        return result if self.bias is None else result + self.bias.reshape(shape)

    def _sum(self, whole: Tensor) -> Tensor:
        """The sums of products: on a GPU in float64, where no library takes a shortcut."""
        if whole.is_cuda or self.chunks is None:
            return _apply(self.layer, whole.double(), self.layer.weight.double())
        if len(self.chunks) == 1:
            return _apply(self.layer, whole, self.layer.weight)
        total = torch.zeros((), dtype=torch.float64)
        for part in self.chunks:
            products = _apply(self.layer, whole[:, part], self.layer.weight[:, part])
            total = total + products.double()
        return total


def simulate(network: fx.GraphModule, encodings: Encodings) -> fx.GraphModule:
    """A copy of a folded network that computes in INT8 wherever `encodings` has 8 bits.

    A layer is computed in whole numbers where its weight and its input are rounded; else in float
    with whichever is. Raises `InputError` for an encoding that belongs to nothing.
    """
    result = copy.deepcopy(network)
    names = named_nodes(result)
    _check(result, names, encodings)
    activations = {
        name: items[0] for name, items in encodings.activations.items() if items[0].is_int8
    }
    inputs = {
        str(node.target): source(node.all_input_nodes[0], names, result)
        for node in names
        if node.op == "call_module" and node.all_input_nodes
    }
    for name, weight in encodings.parameters.items():
        layer_name, _, role = name.rpartition(".")
        if role != "weight" or not weight[0].is_int8:
            continue
        layer = result.get_submodule(layer_name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        given = activations.get(inputs[layer_name] or "")
        if given is not None:
            result.set_submodule(layer_name, WholeLayer(layer, weight, given))
        else:
            whole, scales = whole_weights(layer.weight.detach(), weight)
            shape = (-1, *[1] * (whole.ndim - 1))
            layer.weight = nn.Parameter(whole * scales.reshape(shape), requires_grad=False)
    for node, name in names.items():
        if name in activations:
            _round_after(result, node, Round(activations[name]))
    result.recompile()
    return result


def whole_weights(weight: Tensor, encodings: tuple[Encoding, ...]) -> tuple[Tensor, Tensor]:
    """Weights as whole numbers, float32 of the weight's shape, and their scales, `outputs`."""
    outputs = len(weight)
    if len(encodings) not in (1, outputs):
        raise InputError(
            f"a weight of {outputs} channels must have 1 or {outputs} encodings, but has "
            f"{len(encodings)}"
        )

    def column(values: list[float]) -> Tensor:
        column = torch.tensor(values, dtype=torch.float64, device=weight.device)
        return column.expand(outputs).reshape(-1, *[1] * (weight.ndim - 1))

    scales = column([item.scale for item in encodings])
    low = column([float(item.lowest) for item in encodings])
    high = column([float(item.highest) for item in encodings])
    whole = torch.round(weight.double() / scales).clamp(min=low, max=high)
    return whole.float(), scales.reshape(-1).float()


def _round_after(network: fx.GraphModule, node: fx.Node, rounding: Round) -> None:
    name = f"rounding_{node.name}"
    network.add_submodule(name, rounding)
    with network.graph.inserting_after(node):
        rounded = network.graph.call_module(name, (node,))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)


def _check(network: fx.GraphModule, names: Mapping[fx.Node, str], encodings: Encodings) -> None:
    tensors = set(names.values())
    parameters = {name for name, _ in network.named_parameters()}
    for given, known in ((encodings.activations, tensors), (encodings.parameters, parameters)):
        for name in given:
            if name not in known:
                raise InputError(
                    f"encodings must belong to the network, but it has no `{name}`: were they made "
                    "for another?"
                )


def _exact_chunks(layer: nn.Conv2d | nn.Linear, whole: Tensor, reach: int) -> list[slice] | None:
    """Input channels to sum apart so that no partial sum leaves float32's whole numbers.

    None where a grouped convolution or a single channel could.
    """
    taps = whole.abs().double().flatten(2).sum(2) if whole.ndim > 2 else whole.abs().double()
    bounds = taps * reach
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return [slice(None)] if float(bounds.sum(1).max()) < _EXACT else None
    chunks, start, total = [], 0, torch.zeros_like(bounds[:, 0])
    for channel in range(bounds.shape[1]):
        following = total + bounds[:, channel]
        if float(following.max()) >= _EXACT:
            if channel == start:
                return None
            chunks.append(slice(start, channel))
            start, following = channel, bounds[:, channel]
        total = following
    chunks.append(slice(start, bounds.shape[1]))
    return chunks


def _apply(layer: nn.Conv2d | nn.Linear, values: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return functional.linear(values, weight)
    if layer.padding_mode != "zeros":
        raise InputError(f"convolutions must pad with zeros, but one has `{layer.padding_mode}`")
    return functional.conv2d(
        values, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
