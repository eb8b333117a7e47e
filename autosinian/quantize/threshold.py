"""From a histogram of absolute activations to the range that INT8 shall cover."""

import functools

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.quantize.histogram import Histogram

METHODS = ("minmax", "entropy", "percentile")
PERCENTILE = 99.999  # NVIDIA's INT4 ResNet-50 and pytorch-quantization's examples use it
# S. Migacz, "8-bit inference with TensorRT", GTC 2017: 2,048 bins, 128 levels, start at bin 128.
ENTROPY_BINS = 2048
ENTROPY_LEVELS = 128


def threshold(histogram: Histogram, method: str, *, percentile: float = PERCENTILE) -> float:
    """The greatest `|x|` that INT8 represents; greater ones saturate. Zero for all-zero tensors.

    `minmax` saturates none, `percentile` the share `1 - percentile / 100` of all values, and
    `entropy` as many as lose the least information (Kullback-Leibler divergence). No method
    saturates a bounded tensor.
    """
    if method not in METHODS:
        raise InputError(f"calibration must be one of {', '.join(METHODS)}, but got `{method}`")
    if method == "minmax" or histogram.bounded or histogram.greatest == 0.0:
        return histogram.greatest
    if method == "percentile":
        return _percentile_threshold(histogram, percentile)
    return _entropy_threshold(histogram)


def _percentile_threshold(histogram: Histogram, percentile: float) -> float:
    if not 0.0 < percentile <= 100.0:
        raise InputError(f"`0 < percentile <= 100` must hold, but got {percentile}")
    cumulative = np.cumsum(histogram.counts)
    position = int(np.searchsorted(cumulative, cumulative[-1] * (percentile / 100.0)))
    return min(float(histogram.edges()[position]), histogram.greatest)


def _entropy_threshold(histogram: Histogram) -> float:
    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    pool = -(-used // ENTROPY_BINS)
    bins = -(-used // pool)
    counts = np.zeros(bins * pool, np.int64)
    counts[:used] = histogram.counts[:used]
    pooled = counts.reshape(bins, pool).sum(axis=1).astype(np.float64)
    if bins <= ENTROPY_LEVELS:
        return histogram.greatest
    pooled[0] = pooled[1]  # zeros cost nothing at any scale (pytorch-quantization does the same)
    divergence = kl_divergence(pooled)
    best = int(np.argmin(divergence)) + ENTROPY_LEVELS
    return min(float(histogram.edges()[best * pool - 1]), histogram.greatest)


def kl_divergence(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divergence of `counts`, cut at bin `i` and quantized, from `counts`, for each possible cut.

    Element `k` belongs to `i = ENTROPY_LEVELS + k`, up to and with `len(counts)`. The reference
    `P` is the first `i` bins with all beyond added to the last; `Q` spreads the sum of each of
    `ENTROPY_LEVELS` runs of the first `i` bins evenly over the run's bins that are not empty.
    `Q` lacks the mass beyond the cut, so the generalised divergence `sum p log(p / q) - p + q`
    is used (Csiszar, 1975). Migacz scales `Q` up instead; then a cut that saturates nearly all
    values costs nothing, which ruins tensors whose values all lie far from zero. Infinite where
    the last bin is empty but must hold what lies beyond. With running sums over the bins all
    cuts are computed at once.
    """
    total = counts.sum()
    occupied = counts > 0
    before = np.concatenate(([0.0], np.cumsum(counts)))
    occupied_before = np.concatenate(([0], np.cumsum(occupied)))
    self_information = np.concatenate(([0.0], np.cumsum(_x_log_x(counts))))

    cuts = np.arange(ENTROPY_LEVELS, len(counts) + 1)
    edges = _level_edges(len(counts))
    mass = np.diff(before[edges], axis=1)
    share = mass / np.maximum(np.diff(occupied_before[edges], axis=1), 1)
    log_share = np.log(share, out=np.zeros_like(share), where=share > 0)

    beyond = total - before[cuts]
    last = counts[cuts - 1]
    p_log_p = self_information[cuts] - _x_log_x(last) + _x_log_x(last + beyond)
    p_log_q = (mass * log_share).sum(axis=1) + beyond * log_share[:, -1]
    divergence = (p_log_p - p_log_q - beyond) / total
    return np.where((last == 0) & (beyond > 0), np.inf, divergence)


def _x_log_x(values: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithm = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(values * logarithm)


@functools.lru_cache(maxsize=8)
def _level_edges(bins: int) -> NDArray[np.intp]:
    """First bin of each run, `cuts x (ENTROPY_LEVELS + 1)`: even splits of the first `i` bins."""
    cuts = np.arange(ENTROPY_LEVELS, bins + 1)
    levels = np.arange(ENTROPY_LEVELS + 1)
    return np.asarray((cuts[:, None] * levels[None, :]) // ENTROPY_LEVELS, np.intp)
