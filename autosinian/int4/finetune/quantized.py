"""The network that is trained to be integers: forward in integers, backward straight through."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.folded import FoldedBlock, FoldedNetwork
from autosinian.int4.finetune.layers import (
    ACTIVATION_HIGH,
    IntegerConv,
    IntegerLayer,
    IntegerWeights,
    Step,
    least_scale,
)
from autosinian.int4.finetune.precision import Layer, bits_of
from autosinian.int4.finetune.rescaling import Scaled, rescale

INPUT_HIGH = 127
FEATURE_HIGH = 127
LARGEST_LINEAR_BIAS = (1 << 30) - 1
LOGIT_STEP = 0.1


@dataclass
class Trace:
    """The integers of one forward pass by layer name: what is written to the model folder."""

    weights: dict[str, IntegerWeights] = field(default_factory=dict)
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    out_scale: torch.Tensor | None = None


class QuantizedNetwork(torch.nn.Module):
    """A folded network with every layer but the stem's first in 4 bits, those of `int8` in 8.

    `ranges` gives the greatest real value of every Quantize layer's output. Called with images in
    int8 steps of `input_scale` (integers as floats, `N x 3 x H x W`), it gives real logits,
    `N x classes`. In float32 all integers are exact while accumulators stay below 2^24; given
    float64 images they always are.
    """

    def __init__(
        self,
        network: FoldedNetwork,
        layers: Collection[Layer],
        ranges: Mapping[str, float],
        input_scale: float,
        int8: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        bits = bits_of(int8, layers)
        self.input_scale: torch.Tensor
        self.register_buffer("input_scale", torch.tensor(input_scale))
        self.steps = torch.nn.ModuleDict()
        self.convs = torch.nn.ModuleDict()
        for index, step in enumerate(network.stem):
            self._add_step(step.quantize, ranges, bits)
            conv_bits = 8 if index == 0 else bits[step.conv.name]
            self._add_conv(step.conv.name, conv_bits, step.quantize)
        last = [block.name for block in network.blocks()][-1]
        for block in network.blocks():
            self._add_step(f"{block.name}_quantize1", ranges, bits)
            self._add_step(f"{block.name}_quantize2", ranges, bits)
            output = f"{block.name}_quantize3"
            self._add_step(output, ranges, {output: 8} if block.name == last else bits)
            for conv, after in (("conv1", "quantize1"), ("conv2", "quantize2"), ("conv3", output)):
                name = f"{block.name}_{conv}"
                after = output if after == output else f"{block.name}_{after}"
                self._add_conv(name, bits[name], after)
            if block.downsample is not None:
                name = f"{block.name}_downsample_1"
                self.steps[name] = Step(name, ranges[name], INPUT_HIGH, signed=True)
                self._add_conv(block.downsample.name, bits[block.downsample.name], output)
        self.linear = IntegerLayer("fc", network.linear_weight, network.linear_bias, 8, LOGIT_STEP)
        self.to(network.linear_weight.device)

    def _add_step(self, name: str, ranges: Mapping[str, float], bits: Mapping[str, int]) -> None:
        self.steps[name] = Step(name, ranges[name], ACTIVATION_HIGH[bits[name]])

    def _add_conv(self, name: str, bits: int, after: str) -> None:
        (conv,) = [conv for conv in self.network.convs() if conv.name == name]
        self.convs[name] = IntegerConv(conv, bits, self.step(after).scale().item())

    def step(self, name: str) -> Step:
        """The scale that the Quantize layer `name` writes in."""
        step = self.steps[name]
        assert isinstance(step, Step)
        return step

    def conv(self, name: str) -> IntegerConv:
        """The convolution of that layer name."""
        conv = self.convs[name]
        assert isinstance(conv, IntegerConv)
        return conv

    def set_bits(self, layer: Layer, bits: int) -> None:
        """Put one layer, weights and what it reads, in 4 or 8 bits; its weights' steps are fitted
        anew, the range of what it reads stays."""
        self.step(layer.reads).high = ACTIVATION_HIGH[bits]
        for name in layer.convs:
            self.conv(name).set_bits(bits)

    def forward(self, images: torch.Tensor, trace: Trace | None = None) -> torch.Tensor:
        """Real logits; `trace` receives the integers that gave them."""
        high = torch.full((), INPUT_HIGH, dtype=torch.float64, device=images.device)
        x = Scaled(images, self.input_scale, high)
        for step in self.network.stem:
            least = least_scale(x.scale) if step.residual else None
            y = self._conv(step.conv.name, x, trace, least)
            if step.residual:
                name = step.quantize.removesuffix("_quantize") + "_downsample"
                kept, *fixed = rescale(x, y.scale, None)
                self._tell(trace, name, fixed)
                y = _sum(Scaled(F.relu(y.values), y.scale, y.bound), kept)
            x = self._quantize(step.quantize, y, trace)
        x = Scaled(F.max_pool2d(x.values, 3, 2, 1), x.scale, x.bound)
        for block in self.network.blocks():
            x = self._block(block, x, trace)
        return self.logits(x, trace)

    def _block(self, block: FoldedBlock, x: Scaled, trace: Trace | None) -> Scaled:
        residual = x
        if block.downsample is not None:
            branch = self._conv(block.downsample.name, x, trace)
            residual = self._quantize(f"{block.name}_downsample_1", branch, trace)
        y = self._conv(block.conv1.name, x, trace)
        y = self._quantize(f"{block.name}_quantize1", y, trace)
        y = self._conv(block.conv2.name, y, trace)
        y = self._quantize(f"{block.name}_quantize2", y, trace)
        y = self._conv(block.conv3.name, y, trace, least_scale(residual.scale))
        signed = block.downsample is not None
        name = f"{block.name}_downsample_2" if signed else f"{block.name}_downsample"
        kept, *fixed = rescale(residual, y.scale, None, signed=signed)
        self._tell(trace, name, fixed)
        return self._quantize(f"{block.name}_quantize3", _sum(y, kept), trace)

    def _conv(
        self, name: str, x: Scaled, trace: Trace | None, least: torch.Tensor | None = None
    ) -> Scaled:
        result, integers = self.conv(name)(x, least)
        if trace is not None:
            trace.weights[name] = integers
        scaled: Scaled = result
        return scaled

    def _quantize(self, name: str, x: Scaled, trace: Trace | None) -> Scaled:
        step = self.step(name)
        result, *fixed = rescale(x, step.scale(), step.high, signed=step.signed)
        self._tell(trace, name, fixed)
        return result

    def logits(self, x: Scaled, trace: Trace | None = None) -> torch.Tensor:
        """Real logits, `N x classes`, of the last block's output: average pool, linear layer."""
        count = x.values.shape[2] * x.values.shape[3]
        mean = x.values.sum((2, 3)) / count
        with torch.no_grad():
            whole = ((x.values.sum((2, 3)) + count // 2) / count).floor()
        mean = mean + (whole - mean).detach()
        integers = self.linear.integers(x.scale, None, LARGEST_LINEAR_BIAS)
        kind = mean.dtype
        logits = F.linear(mean, integers.weight.to(kind), integers.bias.to(kind))
        if trace is not None:
            trace.weights["fc"] = integers
            trace.out_scale = 1 / integers.scale
        return logits * integers.scale

    @staticmethod
    def _tell(trace: Trace | None, name: str, fixed: list[torch.Tensor]) -> None:
        if trace is not None:
            trace.factors[name] = (fixed[0], fixed[1])


def _sum(first: Scaled, second: Scaled) -> Scaled:
    return Scaled(first.values + second.values, first.scale, first.bound + second.bound)
