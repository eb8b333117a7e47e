"""A model of integers in the shape of a supernet with a single subnet, as searches want it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from autosinian.errors import InputError
from autosinian.int4.model import Model, open_model
from autosinian.int4.network import Conv, Network
from autosinian.network.fixed import FixedInput, NoGenes
from autosinian.space.candidate import Subnet
from autosinian.space.document import NetworkSpec
from autosinian.supernet.cost import Cost


@dataclass(frozen=True, eq=False)
class Int4Network:
    """One model; images are given in float32 under `preprocessing` and read in int8 steps."""

    name: str
    model: Model
    preprocessing: FixedInput

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's archive."""
        return self.model.sha256

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return self.model.network.classes

    @property
    def genes(self) -> NoGenes:
        """None to choose."""
        return NoGenes()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one it takes."""
        return (self.model.network.input_shape[1],)

    def canonical(self, subnet: Subnet) -> Subnet:
        """The same."""
        return subnet

    def largest(self, resolution: int) -> Subnet:
        """The only one."""
        return Subnet((), (), (), (), resolution)

    def smallest(self, resolution: int) -> Subnet:
        """The only one."""
        return self.largest(resolution)

    def uniform(self, resolution: int) -> list[Subnet]:
        """None beside the only one."""
        return []

    @cached_property
    def cost(self) -> Cost:
        """Multiply-adds of one image, and parameters: weights and biases."""
        return network_cost(self.model.network)


def open_int4_network(spec: NetworkSpec) -> Int4Network:
    """Open the model of a space file. Raises `InputError` for whatever cannot be searched."""
    model = open_model(Path(spec.source), Path(spec.autoconfig) if spec.autoconfig else None)
    _, height, width = model.network.input_shape
    if height != width or spec.resolution not in (None, height):
        raise InputError(
            f"network `{spec.source}` reads {height} x {width} images, but the space's resolution "
            f"is {spec.resolution}; it must be square and the same, or left out"
        )
    rule = FixedInput.of(spec)
    rule.at(height)  # a `resize` below the resolution is told now
    return Int4Network(Path(spec.source).name, model, rule)


def network_cost(network: Network) -> Cost:
    """Multiply-adds of one image's convolutions and linear layer, and their parameters."""
    macs = int(np.prod(network.linear.weight.shape))
    size = network.input_shape[1:]

    def count(conv: Conv, before: tuple[int, int]) -> tuple[int, int]:
        nonlocal macs
        after = conv.output_size(*before)
        macs += conv.weight.size * after[0] * after[1]
        return after

    for unit in network.stem:
        size = count(unit.conv, size)
    size = network.max_pool.output_size(*size)
    for block in network.blocks():
        branch = size
        for conv in (block.conv1, block.conv2, block.conv3):
            branch = count(conv, branch)
        for conv in block.convs()[:-3]:
            count(conv, size)
        size = branch
    weights = sum(conv.weight.size + conv.bias.size for conv in network.convs())
    return Cost(macs, weights + network.linear.weight.size + network.linear.bias.size)
