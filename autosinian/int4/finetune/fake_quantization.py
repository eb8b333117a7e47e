"""The forward pass of training: fake quantization in few passes over memory.

In float32 and float64 it computes the integers that `QuantizedNetwork` computes (float32 may round
a product of 31 bits). In bfloat16, as on a GPU, two things are less exact: a residual is not
rounded before it is added, and what leaves a convolution is rounded to bfloat16, so that a value
near the middle of two integers may become the other one. Everything that is reported or written
comes from `QuantizedNetwork`, exactly.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.folded import FoldedBlock
from autosinian.int4.finetune.layers import LARGEST_BIAS, IntegerWeights, Step, least_scale
from autosinian.int4.finetune.quantized import INPUT_HIGH, QuantizedNetwork
from autosinian.int4.finetune.rescaling import Scaled, fixed_multiplier


class _Requantize(torch.autograd.Function):
    """`clamp(floor(values * multiplier + offset + residual * ratio))`; see `requantize`.

    `offset` includes the half that makes it rounding. Where `to_sums` is given, the residual is
    first rounded in the scale of the values: `round(residual * to_sums) * multiplier`.
    Backward: rounding is the identity, a clamped value is constant.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        multiplier: torch.Tensor,
        offset: torch.Tensor,
        residual: torch.Tensor | None,
        ratio: torch.Tensor | None,
        to_sums: torch.Tensor | None,
        low: int,
        high: int,
    ) -> torch.Tensor:
        exact = torch.empty_like(values)
        # Into a tensor of the values' own kind: multipliers stay in single precision.
        torch.addcmul(_wide(offset), values, _wide(multiplier), out=exact)
        if residual is not None and to_sums is not None:
            # A tie is rounded away from zero, as in integers.
            whole = (residual * _wide(to_sums) + residual.sign() / 2).trunc_()
            torch.addcmul(exact, whole, _wide(multiplier), out=exact)
        elif residual is not None:
            assert ratio is not None
            torch.addcmul(exact, residual, _wide(ratio), out=exact)
        ctx.save_for_backward(exact, multiplier, offset, residual, ratio)
        # A negative value comes out below 1: an unsigned clamp is its ReLU too.
        ctx.ends = (0.5 if low == 0 else low, high + 1)
        return exact.floor().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        exact, multiplier, offset, residual, ratio = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(gradient, exact, *ctx.ends)
        of_offset = _sums(inside)
        # values * multiplier = exact - offset - residual * ratio
        product = _sums(inside * exact) - offset * of_offset
        of_residual = of_ratio = None
        if residual is not None:
            of_ratio = _sums(inside * residual)
            product = product - of_ratio * ratio
            of_residual = _times(inside, ratio)
        of_multiplier = product / multiplier
        of_values = _times(inside, multiplier)
        return of_values, of_multiplier, of_offset, of_residual, of_ratio, None, None, None


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)


def _times(values: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.mul(values, _wide(factor), out=torch.empty_like(values))


def _sums(values: torch.Tensor) -> torch.Tensor:
    """Of each channel, in single precision or better."""
    kind = torch.promote_types(values.dtype, torch.float32)
    return values.sum((0, 2, 3), dtype=kind)


@dataclass(frozen=True, eq=False)
class Fake:
    """Integers as floats, `N x C x H x W`, the scale of all, one number, and their `bound`."""

    values: torch.Tensor
    scale: torch.Tensor
    bound: torch.Tensor


@dataclass(frozen=True, eq=False)
class Accumulators:
    """What a convolution gives: `values` without the bias, its integers, and the `bound` of all."""

    values: torch.Tensor
    own: IntegerWeights
    bound: torch.Tensor


def requantize(sums: Accumulators, step: Step, residual: Fake | None = None) -> Fake:
    """`sums` with their bias and `residual` in the scale of `step`, rounded and clamped."""
    own, bound, scale = sums.own, sums.bound, step.scale()
    kind = torch.promote_types(sums.values.dtype, torch.float32)
    kept = ratio = rounding = None
    if residual is not None:
        to_sums = fixed_multiplier(residual.scale / own.scale, residual.bound)[0].to(kind)
        bound = bound + to_sums.detach() * residual.bound + 1
        rounding = None if sums.values.dtype == torch.bfloat16 else to_sums.detach()
        kept, ratio = residual.values, to_sums
    multiplier = fixed_multiplier(own.scale / scale, bound)[0].to(kind)
    if ratio is not None:
        ratio = ratio * multiplier
    offset = own.bias.to(kind) * multiplier + 0.5
    low = -step.high if step.signed else 0
    arguments = (sums.values, multiplier, offset, kept, ratio, rounding, low, step.high)
    greatest = torch.full((), step.high, dtype=torch.float64, device=scale.device)
    return Fake(_Requantize.apply(*arguments), scale, greatest)


class FakeQuantized:
    """`quantized` as it is trained: call it with images as `quantized` itself, in the kind of
    numbers (float32, bfloat16) that the pass shall have; it gives real logits in float32 or better.
    """

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self._quantized = quantized

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, `N x classes`, of images in int8 steps, `N x 3 x H x W`."""
        net = self._quantized
        high = torch.full((), INPUT_HIGH, dtype=torch.float64, device=images.device)
        x = Fake(images, net.input_scale, high)
        for stem in net.network.stem:
            least = least_scale(x.scale) if stem.residual else None
            sums = self._conv(stem.conv.name, x, least)
            if stem.residual:
                # Here the ReLU comes before the sum.
                own = sums.own
                values = F.relu(sums.values + _wide(own.bias).to(sums.values.dtype))
                own = IntegerWeights(own.weight, torch.zeros_like(own.bias), own.scale)
                sums = Accumulators(values, own, sums.bound)
            x = requantize(sums, net.step(stem.quantize), x if stem.residual else None)
        x = Fake(F.max_pool2d(x.values, 3, 2, 1), x.scale, x.bound)
        for block in net.network.blocks():
            x = self._block(block, x)
        kind = torch.promote_types(x.values.dtype, torch.float32)
        return net.logits(Scaled(x.values.to(kind), x.scale, x.bound))

    def _block(self, block: FoldedBlock, x: Fake) -> Fake:
        net, name = self._quantized, block.name
        residual = x
        if block.downsample is not None:
            branch = self._conv(block.downsample.name, x)
            residual = requantize(branch, net.step(f"{name}_downsample_1"))
        x = requantize(self._conv(block.conv1.name, x), net.step(f"{name}_quantize1"))
        x = requantize(self._conv(block.conv2.name, x), net.step(f"{name}_quantize2"))
        sums = self._conv(block.conv3.name, x, least_scale(residual.scale))
        return requantize(sums, net.step(f"{name}_quantize3"), residual)

    def _conv(self, name: str, x: Fake, least: torch.Tensor | None = None) -> Accumulators:
        layer = self._quantized.conv(name)
        own = layer.integers(x.scale, least, LARGEST_BIAS)
        weight = own.weight.to(x.values.dtype)
        values = F.conv2d(x.values, weight, None, layer.stride, layer.padding)
        return Accumulators(values, own, own.bound(x.bound))
