"""The constants of all layers at once: what a training step computes before any image is met.

Scales, biases and fixed-point multipliers depend on parameters alone. One layer at a time they are
some hundred operators on a few numbers each, which a GPU launches for longer than it computes; here
the channels of all convolutions are one vector. The numbers are those of `layers` and `rescaling`.
"""

from dataclasses import dataclass

import torch

from autosinian.int4.finetune.layers import (
    LARGEST_BIAS,
    LEAST_STEP,
    WEIGHT_LIMITS,
    least_scale,
    rounded_weights,
)
from autosinian.int4.finetune.quantized import INPUT_HIGH, QuantizedNetwork
from autosinian.int4.finetune.rescaling import fixed_point_of, straight_round

INPUT = "input"
"""The name of the images among the tensors that layers read."""


@dataclass(frozen=True)
class Connection:
    """A convolution by name, the tensors it reads and writes, and the residual that joins it."""

    conv: str
    reads: str
    writes: str
    residual: str | None = None


def connections(quantized: QuantizedNetwork) -> tuple[Connection, ...]:
    """All convolutions; tensors are named as the Quantize layers that write them."""
    found, x = [], INPUT
    for stem in quantized.network.stem:
        residual = x if stem.residual else None
        found.append(Connection(stem.conv.name, x, stem.quantize, residual))
        x = stem.quantize
    for block in quantized.network.blocks():
        name, residual = block.name, x
        if block.downsample is not None:
            residual = f"{name}_downsample_1"
            found.append(Connection(block.downsample.name, x, residual))
        first, second, last = (f"{name}_quantize{number}" for number in (1, 2, 3))
        found.append(Connection(block.conv1.name, x, first))
        found.append(Connection(block.conv2.name, first, second))
        found.append(Connection(block.conv3.name, second, last, residual))
        x = last
    return tuple(found)


@dataclass(frozen=True, eq=False)
class LayerConstants:
    """A convolution's integers, `weight` `K x C x R x S` and `bias` `K`, as floats; and `K` each:

    `multiplier` from accumulators to what it writes; `to_sums` from the residual to accumulators.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    multiplier: torch.Tensor
    to_sums: torch.Tensor | None


class Constants:
    """Those of `quantized`, whose layers keep the bits they have now."""

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self._quantized = quantized
        self.connections = connections(quantized)
        device = quantized.input_scale.device
        self._layers = [quantized.conv(one.conv) for one in self.connections]
        self._sizes = [len(layer.latent) for layer in self._layers]
        self._steps = [quantized.step(name) for name in quantized.steps]
        self._places = {step.name: place for place, step in enumerate(self._steps)}
        self._places[INPUT] = len(self._steps)
        highs = [float(step.high) for step in self._steps]
        self._highs = torch.tensor(highs, device=device)
        self._bounds = torch.tensor([*highs, INPUT_HIGH], dtype=torch.float64, device=device)

        def each(values: list[int]) -> torch.Tensor:
            """One number of every convolution as one of every channel."""
            sizes = torch.tensor(self._sizes)
            return torch.tensor(values).repeat_interleave(sizes).to(device)

        self._reads = each([self._places[one.reads] for one in self.connections])
        self._writes = each([self._places[one.writes] for one in self.connections])
        joined = [one.residual is not None for one in self.connections]
        self._joined = each([int(has) for has in joined]).nonzero().flatten()
        residuals = each([self._places[one.residual or INPUT] for one in self.connections])
        self._residuals = residuals[self._joined]
        self._joined_sizes = [size for size, has in zip(self._sizes, joined, strict=True) if has]
        self._segments = _Segments(self._sizes, device)
        self._joined_segments = _Segments(self._joined_sizes, device)
        with torch.no_grad():
            self._units = torch.cat([layer.unit for layer in self._layers])
            steps = [torch.full_like(layer.unit, layer.bias_step) for layer in self._layers]
            self._bias_steps = torch.cat(steps)

    def _scales(self) -> torch.Tensor:
        ranges = torch.stack([step.log_range for step in self._steps])
        own = ranges.exp() / self._highs
        return torch.cat([own, self._quantized.input_scale.view(1)])

    def __call__(self) -> tuple[dict[str, LayerConstants], dict[str, torch.Tensor]]:
        """Constants by convolution and scales by tensor."""
        scales = self._scales()
        inputs = scales.index_select(0, self._reads)
        residuals = scales.index_select(0, self._residuals)
        steps = torch.cat([layer.log_step for layer in self._layers]).exp()
        biases = torch.cat([layer.latent_bias for layer in self._layers]) * self._bias_steps
        with torch.no_grad():
            floor = biases.abs() / (LARGEST_BIAS - 0.5)
            least = torch.zeros_like(floor).index_copy(0, self._joined, least_scale(residuals))
            floor = torch.maximum(floor, least).clamp(min=LEAST_STEP**2)
        sums = torch.maximum(inputs * steps, floor)
        ratios = torch.split_with_sizes(self._units * inputs / sums, self._sizes)
        weights = [
            rounded_weights(layer.latent, ratio, *WEIGHT_LIMITS[layer.bits])
            for layer, ratio in zip(self._layers, ratios, strict=True)
        ]
        whole = straight_round((biases / sums).clamp(-LARGEST_BIAS, LARGEST_BIAS))
        to_sums = residuals / sums.index_select(0, self._joined)
        with torch.no_grad():
            # float32 holds the sums exactly: 2^24 is more than 127 x 9 x 4,096.
            weight_sums = torch.cat([weight.abs().sum((1, 2, 3)) for weight in weights])
            bound = weight_sums.double() * self._bounds[self._reads] + whole.abs()
            residual_bound = self._bounds[self._residuals]
        to_sums = self._joined_segments.fixed(to_sums, residual_bound)
        with torch.no_grad():
            bound.index_add_(0, self._joined, to_sums * residual_bound + 1)
        multipliers = self._segments.fixed(sums / scales.index_select(0, self._writes), bound)
        joined = iter(torch.split_with_sizes(to_sums, self._joined_sizes))
        found = {
            one.conv: LayerConstants(
                weight, bias, multiplier, None if one.residual is None else next(joined)
            )
            for one, weight, bias, multiplier in zip(
                self.connections,
                weights,
                torch.split_with_sizes(whole, self._sizes),
                torch.split_with_sizes(multipliers, self._sizes),
                strict=True,
            )
        }
        # Split, so that the gradients of all come together in one operator.
        apart = scales.unbind()
        return found, {name: apart[place] for name, place in self._places.items()}


class _Segments:
    """Fixed-point multipliers of many layers, each of which has one shift."""

    def __init__(self, sizes: list[int], device: torch.device) -> None:
        total, widest = sum(sizes), max(sizes, default=1)
        # Where each layer's channels are; shorter layers look at the zero behind all.
        place = torch.full((len(sizes), widest), total)
        start = 0
        for row, size in enumerate(sizes):
            place[row, :size] = torch.arange(start, start + size)
            start += size
        self._place = place.to(device)
        self._owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device)

    def fixed(self, multiplier: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
        """`factor / 2^shift` with the gradient of `multiplier`, all channels; see `fixed_point`."""
        if not len(multiplier):
            return multiplier
        with torch.no_grad():
            exact = multiplier.detach().double()
            rows = torch.stack([exact, bound, exact * bound])
            rows = torch.cat([rows, rows.new_zeros(3, 1)], 1)
            greatest = rows[:, self._place].amax(2)
            factor, power = fixed_point_of(exact, greatest, self._owner)
            fixed = (factor / power).to(multiplier.dtype)
        return fixed + (multiplier - multiplier.detach())
