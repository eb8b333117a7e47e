"""Which layers are in 8 bits: a layer is a convolution together with the activations it reads."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from autosinian.errors import InputError
from autosinian.int4.finetune.folded import FoldedNetwork


@dataclass(frozen=True)
class Layer:
    """What is in 4 or in 8 bits as a whole: `name` is its main convolution's.

    `convs` read the same tensor, which the Quantize layer `reads` writes: the first convolution of
    a block and the downsample beside it are one layer. `macs` and `weights` count both.
    """

    name: str
    convs: tuple[str, ...]
    reads: str
    macs: int
    weights: int


def layers_of(network: FoldedNetwork, resolution: int) -> tuple[Layer, ...]:
    """The layers of `network` that may be in 4 bits: all but the first convolution, which reads
    the image. `macs` are of one image of `resolution` pixels a side."""
    side = resolution
    written = ""
    found = []
    for index, step in enumerate(network.stem):
        side = _side(side, step.conv.weight.shape[-1], step.conv.stride[0], step.conv.padding[0])
        if index > 0:
            weights = step.conv.weight.numel()
            found.append(
                Layer(step.conv.name, (step.conv.name,), written, weights * side**2, weights)
            )
        written = step.quantize
    side = _side(side, 3, 2, 1)
    for block in network.blocks():
        weights = block.conv1.weight.numel()
        macs = weights * side**2
        convs = [block.conv1.name]
        inner = _side(side, 3, block.conv2.stride[0], 1)
        if block.downsample is not None:
            convs.append(block.downsample.name)
            weights += block.downsample.weight.numel()
            macs += block.downsample.weight.numel() * inner**2
        found.append(Layer(block.conv1.name, tuple(convs), written, macs, weights))
        side = inner
        for conv, reads in ((block.conv2, "quantize1"), (block.conv3, "quantize2")):
            weights = conv.weight.numel()
            name = f"{block.name}_{reads}"
            found.append(Layer(conv.name, (conv.name,), name, weights * side**2, weights))
        written = f"{block.name}_quantize3"
    return tuple(found)


def checked_names(names: Collection[str], layers: Collection[Layer]) -> frozenset[str]:
    """`names` as a set; `InputError` where one is no layer that may be in 4 bits."""
    known = [layer.name for layer in layers]
    for name in names:
        if name not in known:
            raise InputError(
                f"a layer kept in 8 bits must be one of {known[0]} ... {known[-1]}, got `{name}`"
            )
    return frozenset(names)


def bits_of(int8: Collection[str], layers: Collection[Layer]) -> Mapping[str, int]:
    """Bits of every convolution and of every Quantize layer between layers."""
    bits = {}
    for layer in layers:
        value = 8 if layer.name in int8 else 4
        bits.update(dict.fromkeys((*layer.convs, layer.reads), value))
    return bits


def _side(side: int, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1
