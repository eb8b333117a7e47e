import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.quantize.histogram import Histogram
from autosinian.quantize.threshold import (
    ENTROPY_LEVELS,
    METHODS,
    kl_divergence,
    threshold,
)


def _histogram(data: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    histogram.add(np.asarray(data, np.float32))
    return histogram


def _normal(count: int = 200_000) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def test_minmax_covers_the_greatest_magnitude() -> None:
    assert threshold(_histogram(np.array([-3.0, 2.0])), "minmax") == 3.0


@pytest.mark.parametrize("percentile", [50.0, 99.0, 99.9])
def test_percentile_covers_that_share_of_all_values(percentile: float) -> None:
    data = _normal()
    found = threshold(_histogram(data), "percentile", percentile=percentile)
    expected = np.percentile(np.abs(data), percentile)
    assert found == pytest.approx(expected, abs=2 * 8 / 8192)
    assert np.mean(np.abs(data) <= found) >= percentile / 100


def test_percentile_100_is_minmax() -> None:
    histogram = _histogram(_normal())
    assert threshold(histogram, "percentile", percentile=100.0) == threshold(histogram, "minmax")


def test_entropy_saturates_a_few_outliers() -> None:
    data = np.concatenate([_normal(), np.array([60.0], np.float32)])
    found = threshold(_histogram(data), "entropy")
    assert 3.0 < found < 15.0


def test_entropy_keeps_values_that_all_lie_far_from_zero() -> None:
    data = np.random.default_rng(0).normal(5.0, 0.2, 100_000).astype(np.float32)
    assert threshold(_histogram(data), "entropy") > 5.3


def test_entropy_of_uniform_values_saturates_little() -> None:
    data = np.random.default_rng(0).uniform(0, 6, 100_000).astype(np.float32)
    assert threshold(_histogram(data), "entropy") > 5.5


def test_divergence_is_that_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    counts = np.floor(generator.exponential(20.0, 300) * np.linspace(1, 0, 300) ** 2)
    found = kl_divergence(counts)
    total = counts.sum()
    for cut in (128, 129, 200, 256, 299, 300):
        reference = counts[:cut].copy()
        reference[-1] += counts[cut:].sum()
        candidate = np.zeros(cut)
        for level in range(ENTROPY_LEVELS):
            run = slice(cut * level // ENTROPY_LEVELS, cut * (level + 1) // ENTROPY_LEVELS)
            occupied = counts[run] > 0
            if occupied.any():
                candidate[run] = np.where(occupied, counts[run].sum() / occupied.sum(), 0)
        p, q = reference / total, candidate / total
        expected = q.sum() - p.sum()
        for one, other in zip(p, q, strict=True):
            if one > 0:
                expected += one * np.log(one / other) if other > 0 else np.inf
        assert found[cut - ENTROPY_LEVELS] == pytest.approx(expected, abs=1e-9)
    assert found[-1] < np.inf


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_no_range(method: str) -> None:
    assert threshold(_histogram(np.zeros(4, np.float32)), method) == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [1e-45, 1e-30, 1.0, 3e38])
def test_a_single_value_is_always_covered(method: str, value: float) -> None:
    data = np.full(10, value, np.float32)
    assert threshold(_histogram(data), method) == pytest.approx(float(data[0]), rel=2e-3)


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="minmax, entropy, percentile"):
        threshold(Histogram(), "mse")


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1, float("nan")])
def test_an_impossible_percentile_is_refused(percentile: float) -> None:
    with pytest.raises(InputError, match="percentile"):
        threshold(_histogram(_normal(10)), "percentile", percentile=percentile)
