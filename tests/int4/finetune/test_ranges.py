"""Activation ranges by hand values, and weights' steps."""

import numpy as np
import pytest
import torch

from autosinian.errors import AutosinianError
from autosinian.int4.finetune.layers import fitted_steps
from autosinian.int4.finetune.ranges import device_histogram
from autosinian.quantize.histogram import Histogram
from autosinian.quantize.threshold import threshold


def test_a_device_histogram_is_the_host_one() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
    expected = Histogram()
    expected.add(values.numpy())
    found = device_histogram(values)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert (found.span, found.greatest) == (expected.span, expected.greatest)


def test_the_99_999th_percentile_cuts_one_of_a_hundred_thousand() -> None:
    values = torch.linspace(0, 1, 100_000)
    values[-1] = 7.9
    # Bins of 8 / 8192: the last of the others lies in the bin that ends at 1 + 1 / 1024 at most.
    found = threshold(device_histogram(values), "percentile", percentile=99.999)
    assert found == pytest.approx(1.0, abs=2 / 1024)
    assert threshold(device_histogram(values), "percentile", percentile=100.0) == pytest.approx(7.9)


def test_batches_merge_to_the_percentile_of_all() -> None:
    values = torch.rand(4000, generator=torch.Generator().manual_seed(1)) * 5
    merged = Histogram()
    for part in values.view(4, 1000):
        merged.merge(device_histogram(part))
    whole = device_histogram(values)
    assert threshold(merged, "percentile") == threshold(whole, "percentile")


def test_a_tensor_of_zeros_has_range_zero() -> None:
    assert threshold(device_histogram(torch.zeros(10)), "percentile") == 0.0


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(AutosinianError, match="must be finite"):
        device_histogram(torch.tensor([1.0, float("inf")]))


def test_steps_represent_weights_that_lie_on_a_grid_exactly() -> None:
    weight = torch.tensor([[7.0, -3.0, 1.0, 0.0], [0.7, 0.6, -0.1, 0.2]])
    torch.testing.assert_close(fitted_steps(weight, 4), torch.tensor([1.0, 0.1]))
    grid = torch.tensor([[127.0, -5.0, 64.0]]) * 0.01
    torch.testing.assert_close(fitted_steps(grid, 8), torch.tensor([0.01]))


def test_one_outlier_among_many_weights_is_clipped() -> None:
    weight = torch.cat(
        [torch.randn(2000, generator=torch.Generator().manual_seed(0)), torch.ones(1)]
    )
    weight[-1] = 6.0
    (step,) = fitted_steps(weight[None], 4).tolist()
    assert step < 5.5 / 7


def test_a_channel_of_zeros_has_a_step_above_zero() -> None:
    assert float(fitted_steps(torch.zeros(1, 4), 4)) > 0
