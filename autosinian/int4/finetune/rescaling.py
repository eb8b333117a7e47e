"""Fixed-point rescaling in training: integers forward, straight-through gradients backward.

The forward pass is the very arithmetic of `autosinian.int4.network.Quantize`. The backward pass
takes rounding as the identity and a clamped value as constant (Bengio et al. 2013, "Estimating or
Propagating Gradients Through Stochastic Neurons").
"""

from dataclasses import dataclass
from typing import Any

import torch

LARGEST_FACTOR = (1 << 16) - 1
LARGEST_PRODUCT = (1 << 31) - 1
LARGEST_SHIFT = 24


@dataclass(frozen=True, eq=False)
class Scaled:
    """Integers as floats with their scale: the real values are `values * scale`.

    `values` is `N x C x H x W` (or `N x C`), `scale` and `bound` are `C` or one number: `bound` is
    the greatest magnitude that the weights allow, whatever the image.
    """

    values: torch.Tensor
    scale: torch.Tensor
    bound: torch.Tensor


def fixed_point(multiplier: torch.Tensor, bound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors, `C` (int64), and the shift, a scalar (int64): `factor / 2^shift ~ multiplier`.

    The shift is the greatest up to 24 with which every factor fits 16 bits and no product of a
    value within `bound` and its factor, `half` added, leaves 32 bits.
    """
    exact = multiplier.detach().double()
    limit = bound.detach().double().expand_as(exact)
    greatest = torch.stack([exact.max(), limit.max(), (limit * exact).max()])
    factor, power = fixed_point_of(exact, greatest)
    return factor.long(), torch.log2(power).round().long()


def fixed_point_of(
    exact: torch.Tensor, greatest: torch.Tensor, owner: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors and `2^shift` of many layers' channels, `N` each (float64, whole numbers).

    `exact` are the multipliers, `N` (float64). `greatest` is `3 x L`: each layer's greatest
    multiplier, bound, and product of the two; `owner`, `N`, is the layer of each channel. With one
    layer only, `greatest` is `3`, there is no owner and one power of two.
    """
    multiplier, bound, product = greatest.unbind()
    # limit * (m 2^s + 1/2) + 2^(s-1) <= LARGEST_PRODUCT, solved for 2^s.
    room = (LARGEST_PRODUCT - bound / 2) / (product + 0.5)
    by_factor = (LARGEST_FACTOR + 0.499) / multiplier
    shift = torch.minimum(by_factor, room).log2().floor().clamp(0, LARGEST_SHIFT)
    power = torch.exp2(shift)
    if owner is not None:
        power = power.index_select(0, owner)
    return torch.round(exact * power).clamp(max=LARGEST_FACTOR), power


def fixed_multiplier(
    multiplier: torch.Tensor, bound: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`factor / 2^shift` with the gradient of `multiplier`, `C`; factors and shift."""
    factor, shift = fixed_point(multiplier, bound)
    fixed = (factor / torch.exp2(shift.double())).to(multiplier.dtype)
    # Exactly `fixed`: what is added is 0.
    return fixed + (multiplier - multiplier.detach()), factor, shift


class _Rescale(torch.autograd.Function):
    """`clamp(sign(in) * ((|in| * factor + half) >> shift))`; see `rescale`."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        multiplier: torch.Tensor,
        factor: torch.Tensor,
        shift: torch.Tensor,
        high: int | None,
        signed: bool,
    ) -> torch.Tensor:
        # fp32 holds integers up to 2^24 and `fixed_point` keeps products within 32 bits.
        kind = torch.int32 if values.dtype == torch.float32 else torch.int64
        shape = (1, -1) + (1,) * (values.ndim - 2)
        steps = factor.to(kind).view(shape)
        shift = shift.to(kind)
        half = (torch.ones_like(shift) << shift) >> 1
        # Rounded: a convolution library may reach integers by fractions (Winograd's transform).
        whole = values.round().to(kind)
        inside = None
        if signed:
            negative = whole < 0
            whole.abs_()
        elif high is not None:
            # A negative value comes out below 1, so that the clamp below is its ReLU too.
            inside = values > 0
        whole.mul_(steps).add_(half).bitwise_right_shift_(shift)
        if high is not None:
            fits = whole <= high
            inside = fits if inside is None else inside.logical_and_(fits)
            whole.clamp_(min=0, max=high)
        result = whole.to(values.dtype)
        if signed:
            result = torch.where(negative, -result, result)
        needs_multiplier = ctx.needs_input_grad[1]
        ctx.save_for_backward(multiplier, inside, values if needs_multiplier else None)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        multiplier, inside, values = ctx.saved_tensors
        if inside is not None:
            gradient = gradient * inside
        of_multiplier = None
        if values is not None:
            axes = [axis for axis in range(values.ndim) if axis != 1]
            of_multiplier = (gradient * values).sum(axes)
        shape = (1, -1) + (1,) * (gradient.ndim - 2)
        return gradient * multiplier.view(shape), of_multiplier, None, None, None, None


def rescale(
    source: Scaled, scale: torch.Tensor, high: int | None, *, signed: bool = False
) -> tuple[Scaled, torch.Tensor, torch.Tensor]:
    """`source` in another `scale` (`C` or one number), its factors and its shift.

    `high` is the greatest value of the result (the least is 0, the ReLU, or `-high` where signed);
    None clamps nothing. Unsigned without `high`, values must not be negative.
    """
    channels = source.values.shape[1]
    multiplier = (source.scale / scale).expand(channels)
    multiplier, factor, shift = fixed_multiplier(multiplier, source.bound)
    arguments = (source.values, multiplier, factor, shift, high, signed)
    values: torch.Tensor = _Rescale.apply(*arguments)
    if high is None:
        bound = source.bound * factor / torch.exp2(shift.double()) + 1
    else:
        bound = torch.full((), high, dtype=torch.float64, device=values.device)
    return Scaled(values, scale, bound), factor, shift


def straight_round(values: torch.Tensor) -> torch.Tensor:
    """`values` rounded to nearest (half to even), with the gradient of the identity."""
    return values + (torch.round(values) - values).detach()
