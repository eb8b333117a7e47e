"""The forward pass of training: fake quantization in few passes over memory.

In float32 and float64 it computes the integers that `QuantizedNetwork` computes (float32 may round
a product of 31 bits). In bfloat16, as on a GPU, two things are less exact: a residual is not
rounded before it is added, and what leaves a convolution is rounded to bfloat16, so that a value
near the middle of two integers may become the other one. Everything that is reported or written
comes from `QuantizedNetwork`, exactly.
"""

from typing import Any

import torch
import torch.nn.functional as F

from autosinian.int4.finetune.constants import INPUT, Connection, Constants, LayerConstants
from autosinian.int4.finetune.quantized import QuantizedNetwork
from autosinian.int4.finetune.rescaling import Scaled


class _Requantize(torch.autograd.Function):
    """`clamp(round(values * multiplier + offset + residual * ratio))`; see `FakeQuantized`.

    Where `half` is 1/2, `offset` includes it and rounding is `floor`, ties upwards; where it is 0,
    ties go to the even neighbour: in bfloat16 they are frequent, and all upwards would be a bias.
    Where `to_sums` is given, the residual is first rounded in the scale of the values:
    `round(residual * to_sums) * multiplier`. Backward: rounding is the identity, a clamped value is
    constant.
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
        half: float,
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
        # An unsigned clamp is the ReLU of negative values too.
        ctx.ends = ((0 if low == 0 else low - 0.5) + half, high + 0.5 + half)
        return (exact.floor() if half else exact.round()).clamp_(low, high)

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
        return of_values, of_multiplier, of_offset, of_residual, of_ratio, None, None, None, None


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)


def _times(values: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.mul(values, _wide(factor), out=torch.empty_like(values))


def _sums(values: torch.Tensor) -> torch.Tensor:
    """Of each channel, in single precision or better."""
    kind = torch.promote_types(values.dtype, torch.float32)
    return values.sum((0, 2, 3), dtype=kind)


class FakeQuantized:
    """`quantized` as it is trained: call it with images as `quantized` itself, in the kind of
    numbers (float32, bfloat16) that the pass shall have; it gives real logits in float32 or better.

    Its layers must keep the bits that they have when this is made.
    """

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self._quantized = quantized
        self._constants = Constants(quantized)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, `N x classes`, of images in int8 steps, `N x 3 x H x W`."""
        net = self._quantized
        constants, scales = self._constants()
        tensors = {INPUT: images}
        stem = {step.conv.name for step in net.network.stem}
        last = net.network.stem[-1].quantize
        for one in self._constants.connections:
            residual = None if one.residual is None else tensors[one.residual]
            values = tensors[one.reads]
            values = self._layer(one, constants[one.conv], values, residual, one.conv in stem)
            tensors[one.writes] = F.max_pool2d(values, 3, 2, 1) if one.writes == last else values
        kind = torch.promote_types(values.dtype, torch.float32)
        bound = torch.full((), net.step(one.writes).high, device=images.device)
        return net.logits(Scaled(values.to(kind), scales[one.writes], bound))

    def _layer(
        self,
        one: Connection,
        own: LayerConstants,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        in_stem: bool,
    ) -> torch.Tensor:
        """A convolution and the quantization of what it gives, its residual added."""
        conv, step = self._quantized.conv(one.conv), self._quantized.step(one.writes)
        values = F.conv2d(x, own.weight.to(x.dtype), None, conv.stride, conv.padding)
        bias = own.bias
        if in_stem and residual is not None:
            # Here the ReLU comes before the sum.
            values, bias = F.relu(values + _wide(bias).to(x.dtype)), torch.zeros_like(bias)
        kind = torch.promote_types(x.dtype, torch.float32)
        multiplier = own.multiplier.to(kind)
        exactly = x.dtype != torch.bfloat16
        half = 0.5 if exactly else 0.0
        offset = bias.to(kind) * multiplier + half
        ratio = rounding = None
        if own.to_sums is not None:
            to_sums = own.to_sums.to(kind)
            ratio = to_sums * multiplier
            rounding = to_sums.detach() if exactly else None
        low = -step.high if step.signed else 0
        scaling = (values, multiplier, offset, residual, ratio, rounding)
        result: torch.Tensor = _Requantize.apply(*scaling, low, step.high, half)
        return result
