import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from autosinian.quantize.histogram import BINS, Histogram

values = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=2, max_side=20),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


def _of(*parts: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def _assert_equal(left: Histogram, right: Histogram) -> None:
    assert (left.span, left.greatest) == (right.span, right.greatest)
    np.testing.assert_array_equal(left.counts, right.counts)


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_batches_in_any_order_give_the_histogram_of_the_whole(
    one: NDArray[np.float32], two: NDArray[np.float32]
) -> None:
    whole = _of(np.concatenate([one.ravel(), two.ravel()]))
    _assert_equal(_of(one, two), whole)
    _assert_equal(_of(two, one), whole)
    merged = _of(one)
    merged.merge(_of(two))
    _assert_equal(merged, whole)
    assert whole.counts.sum() == one.size + two.size


def test_counts_are_those_of_numpy() -> None:
    data = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    histogram = _of(data)
    assert histogram.span == 4.0
    expected, _ = np.histogram(np.abs(data), BINS, range=(0, 4))
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.greatest == np.abs(data).max()
    assert histogram.edges()[-1] == 4.0


def test_zeros_fill_the_first_bin() -> None:
    histogram = _of(np.zeros(5, np.float32))
    assert (histogram.span, histogram.greatest, histogram.counts[0]) == (0.0, 0.0, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _of(np.array([1.0, bad], np.float32))
