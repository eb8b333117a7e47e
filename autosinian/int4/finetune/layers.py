"""A convolution whose weights and biases are integers in a scale of its own, and its activations.

Parameters are kept in units of the quantization steps they start with (`latent` weights, biases and
the logarithms of scales), so that one learning rate means the same everywhere however much batch
norm had spread the folded weights of channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.folded import FoldedConv
from autosinian.int4.finetune.rescaling import LARGEST_FACTOR, Scaled, straight_round

WEIGHT_LIMITS = {4: (-8, 7), 8: (-127, 127)}
ACTIVATION_HIGH = {4: 15, 8: 127}
"""Greatest unsigned activation: 8-bit layers read u7, see `autosinian.int4.network`."""
LARGEST_BIAS = (1 << 15) - 1
LEAST_STEP = 1e-12
_CLIPS = 16


def fitted_steps(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Each output channel's step, `K`, of the least squared error over 16 clips of its range.

    `weight` is `K x ...`; the clips are evenly spaced parts, 1/2 to 1, of the greatest weight.
    """
    low, high = WEIGHT_LIMITS[bits]
    flat = weight.detach().flatten(1)
    greatest = flat.abs().amax(1).clamp(min=LEAST_STEP * high)
    best = greatest / high
    least = torch.full_like(best, float("inf"))
    for clip in torch.linspace(0.5, 1.0, _CLIPS).tolist():
        step = greatest * (clip / high)
        rounded = torch.round(flat / step[:, None]).clamp(low, high) * step[:, None]
        error = (rounded - flat).square().sum(1)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
    return best.to(weight.dtype)


class _RoundedWeights(torch.autograd.Function):
    """`clamp(round(latent * ratio))`: rounding backward is the identity, clamped is constant."""

    @staticmethod
    def forward(
        ctx: Any, latent: torch.Tensor, ratio: torch.Tensor, low: int, high: int
    ) -> torch.Tensor:
        exact = latent * ratio.view((-1,) + (1,) * (latent.ndim - 1))
        ctx.save_for_backward(exact, latent, ratio)
        # What rounds to an end without being clamped still learns.
        ctx.ends = (low - 0.5, high + 0.5)
        return exact.clamp(low, high).round_()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        exact, latent, ratio = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(gradient, exact, *ctx.ends)
        of_ratio = (inside * latent).sum(tuple(range(1, latent.ndim)))
        return inside * ratio.view((-1,) + (1,) * (latent.ndim - 1)), of_ratio, None, None


def rounded_weights(latent: torch.Tensor, ratio: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Integers, `K x ...`, of weights that are `latent * ratio` quantization steps (`ratio`: `K`).

    Differentiable in both, straight through the rounding.
    """
    whole: torch.Tensor = _RoundedWeights.apply(latent, ratio, low, high)
    return whole


class Step(torch.nn.Module):
    """The scale of one activation tensor, learnable as the logarithm of its range.

    `range` is the greatest real value; the scale is the range over the greatest integer.
    """

    def __init__(self, name: str, range_: float, high: int, *, signed: bool = False) -> None:
        super().__init__()
        self.name, self.high, self.signed = name, high, signed
        self.log_range = torch.nn.Parameter(torch.tensor(max(range_, LEAST_STEP)).log())

    def scale(self) -> torch.Tensor:
        """One number."""
        return self.log_range.exp() / self.high


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Weights, `K x ...`, and biases, `K`, integers as floats; the accumulator's scale, `K`."""

    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor

    def bound(self, inputs: torch.Tensor) -> torch.Tensor:
        """The greatest magnitude of each accumulator, `K` (float64), for inputs within `inputs`."""
        with torch.no_grad():
            sums = self.weight.detach().abs().sum(tuple(range(1, self.weight.ndim)))
            # float32 holds the sums exactly: 2^24 is more than 127 x 9 x 4,096.
            return sums.double() * inputs.max() + self.bias.detach().abs()


class IntegerLayer(torch.nn.Module):
    """What convolutions and the linear layer have in common: `weight`, `bias`, their scales.

    `bias_step` is the real value that a bias's unit of learning stands for.
    """

    def __init__(
        self, name: str, weight: torch.Tensor, bias: torch.Tensor, bits: int, bias_step: float
    ) -> None:
        super().__init__()
        self.name, self.bits, self.bias_step = name, bits, bias_step
        self.unit: torch.Tensor
        # The four-bit step whatever `bits` is: a unit that follows the weights' own size.
        self.register_buffer("unit", fitted_steps(weight, 4))
        latent = weight.detach() / self._wide(self.unit, weight)
        if latent.ndim == 4:
            latent = latent.contiguous(memory_format=torch.channels_last)
        self.latent = torch.nn.Parameter(latent)
        self.latent_bias = torch.nn.Parameter(bias.detach() / bias_step)
        self.log_step = torch.nn.Parameter(fitted_steps(weight, bits).log())

    @staticmethod
    def _wide(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return values.view((-1,) + (1,) * (weight.ndim - 1))

    def float_weight(self) -> torch.Tensor:
        """The real weights, as they are before rounding."""
        return self.latent * self._wide(self.unit, self.latent)

    def float_bias(self) -> torch.Tensor:
        """The real biases, `K`."""
        return self.latent_bias * self.bias_step

    def set_bits(self, bits: int) -> None:
        """Have `bits` from now on, with steps that fit the weights as they are."""
        self.bits = bits
        with torch.no_grad():
            self.log_step.copy_(fitted_steps(self.float_weight(), bits).log())

    def integers(
        self, input_scale: torch.Tensor, least: torch.Tensor | None, largest_bias: int
    ) -> IntegerWeights:
        """Integers for inputs of `input_scale`; no channel's accumulator scale is below `least`.

        A channel whose bias would not fit gets a coarser scale: it has small weights, so that
        it loses little.
        """
        low, high = WEIGHT_LIMITS[self.bits]
        bias = self.float_bias()
        with torch.no_grad():
            floor = bias.abs() / (largest_bias - 0.5)
            if least is not None:
                floor = torch.maximum(floor, least)
            floor = floor.clamp(min=LEAST_STEP**2)
        scale = torch.maximum(input_scale * self.log_step.exp(), floor)
        whole = rounded_weights(self.latent, self.unit * input_scale / scale, low, high)
        whole_bias = straight_round((bias / scale).clamp(-largest_bias, largest_bias))
        return IntegerWeights(whole, whole_bias, scale)


class IntegerConv(IntegerLayer):
    """A convolution of integers."""

    def __init__(self, conv: FoldedConv, bits: int, bias_step: float) -> None:
        super().__init__(conv.name, conv.weight, conv.bias, bits, bias_step)
        self.stride, self.padding = conv.stride, conv.padding

    def forward(
        self, x: Scaled, least: torch.Tensor | None = None
    ) -> tuple[Scaled, IntegerWeights]:
        """The accumulators with their bias, and the integers that gave them."""
        own = self.integers(x.scale, least, LARGEST_BIAS)
        kind = x.values.dtype
        values = F.conv2d(
            x.values, own.weight.to(kind), own.bias.to(kind), self.stride, self.padding
        )
        return Scaled(values, own.scale, own.bound(x.bound)), own


def least_scale(residual: torch.Tensor) -> torch.Tensor:
    """The least scale of an accumulator to which a residual of scale `residual` can be brought."""
    return residual.detach() / LARGEST_FACTOR
