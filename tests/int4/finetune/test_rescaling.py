"""Fixed-point rescaling: the format's integers forward, straight-through gradients backward."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosinian.int4.finetune.rescaling import (
    LARGEST_FACTOR,
    LARGEST_PRODUCT,
    Scaled,
    fixed_point,
    rescale,
    straight_round,
)


def column(*values: float) -> torch.Tensor:
    """Values of one channel, `1 x 1 x N x 1`."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1)


def scaled(values: torch.Tensor, scale: float, bound: float = 1000.0) -> Scaled:
    return Scaled(values, torch.tensor([scale]), torch.tensor([bound], dtype=torch.float64))


@given(
    multipliers=st.lists(st.floats(1e-8, 60000), min_size=1, max_size=5),
    bound=st.integers(1, 1 << 20),
)
def test_factors_fit_16_bits_and_products_32(multipliers: list[float], bound: int) -> None:
    exact = torch.tensor(multipliers, dtype=torch.float64)
    if float(exact.max()) * bound > 1 << 29:
        return
    factor, shift = fixed_point(exact, torch.tensor(float(bound)))
    assert int(factor.min()) >= 0 and int(factor.max()) <= LARGEST_FACTOR
    half = (1 << int(shift)) >> 1
    assert bound * int(factor.max()) + half <= LARGEST_PRODUCT
    error = (factor.double() / 2 ** int(shift) - exact).abs()
    assert float(error.max()) <= 0.5000001 / 2 ** int(shift)


def test_the_shift_is_as_great_as_the_limits_allow() -> None:
    _, shift = fixed_point(torch.tensor([0.25]), torch.tensor([100.0]))
    assert int(shift) == 17  # 0.25 x 2^18 = 65536 would not fit 16 bits
    _, shift = fixed_point(torch.tensor([0.25]), torch.tensor([200000.0]))
    assert int(shift) == 15  # 200000 x 0.25 x 2^16 would not fit 32 bits with half a step added


def test_ties_round_away_from_zero_and_values_are_clamped() -> None:
    values = column(-6, -3, -1, 0, 1, 3, 5, 6, 900)
    result, factor, shift = rescale(scaled(values, 0.5), torch.tensor([1.0]), 127, signed=True)
    assert int(factor[0]) / 2 ** int(shift) == 0.5
    assert result.values.flatten().tolist() == [-3, -2, -1, 0, 1, 2, 3, 3, 127]
    unsigned, *_ = rescale(scaled(values, 0.5), torch.tensor([1.0]), 15)
    assert unsigned.values.flatten().tolist() == [0, 0, 0, 0, 1, 2, 3, 3, 15]


def test_gradients_flow_through_rounding_and_stop_where_values_are_clamped() -> None:
    values = column(-4, 1, 6, 100).requires_grad_()
    result, *_ = rescale(scaled(values, 0.5), torch.tensor([2.0]), 15)
    torch.autograd.backward(result.values.sum())
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [0, 0.25, 0.25, 0]


def test_a_signed_residual_has_gradients_on_both_sides() -> None:
    values = column(-127, -4, 6, 127).requires_grad_()
    result, *_ = rescale(scaled(values, 0.5), torch.tensor([0.25]), None, signed=True)
    assert result.values.flatten().tolist() == [-254, -8, 12, 254]
    torch.autograd.backward(result.values.sum())
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [2, 2, 2, 2]


def test_the_scale_learns_as_learned_step_size_quantization_says() -> None:
    # Real output s * q(x / s): its derivative is q - x / s inside, the greatest q where clamped.
    values = column(3, 50)
    step = torch.tensor([2.0], requires_grad=True)
    result, *_ = rescale(scaled(values, 1.0), step, 15)
    torch.autograd.backward((result.values * step).sum())
    assert step.grad is not None
    assert float(step.grad) == pytest.approx((2 - 1.5) + 15)


def test_bounds_of_a_rescaled_residual_hold_its_greatest_value() -> None:
    source = Scaled(column(15), torch.tensor([1.0]), torch.tensor(15.0, dtype=torch.float64))
    result, *_ = rescale(source, torch.tensor([0.013]), None)
    assert float(result.values.max()) <= float(result.bound.max())
    assert float(result.bound.max()) <= float(result.values.max()) + 2


def test_a_rounded_weight_has_the_gradient_of_the_weight() -> None:
    weight = torch.tensor([0.4, 0.6, -1.7], requires_grad=True)
    whole = straight_round(weight)
    assert whole.tolist() == [0, 1, -2]
    torch.autograd.backward((whole * torch.tensor([1.0, 2.0, 3.0])).sum())
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 2, 3]
