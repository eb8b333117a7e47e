"""Histograms of absolute activations that grow with their range and merge without loss."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A span is a power of two above the greatest value, so between BINS / 2 and BINS bins are in use:
# at least the 2,048 that TensorRT's entropy calibration has, and finer percentiles.
BINS = 8192


@dataclass
class Histogram:
    """Counts of `|x|` in `BINS` equal bins over `[0, span)`.

    `span` is a power of two above `greatest`, doubled when a greater value comes: so the counts
    do not depend on how the values were split into batches, nor on the batches' order. `bounded`
    marks values that cannot exceed their range (pixels): no method saturates them.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    span: float = 0.0
    greatest: float = 0.0
    bounded: bool = False

    def add(self, values: NDArray[np.float32], greatest: float | None = None) -> None:
        """Count `values`, of any shape; `greatest` is their `max |x|` where it is known."""
        magnitudes = np.abs(values, dtype=np.float32).reshape(-1)
        if magnitudes.size == 0:
            return
        if greatest is None:
            greatest = float(magnitudes.max())
        if not math.isfinite(greatest):
            raise ValueError(f"values must be finite, but the greatest is {greatest}")
        self._widen(greatest)
        if self.span == 0.0:
            self.counts[0] += magnitudes.size
            return
        np.multiply(magnitudes, np.float32(BINS / self.span), out=magnitudes)  # exact: 2^n
        self.counts += np.bincount(magnitudes.astype(np.intp), minlength=BINS)

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        self._widen(other.greatest)
        moved = Histogram(other.counts.copy(), other.span, other.greatest)
        moved._widen(self.greatest)
        self.counts += moved.counts

    def edges(self) -> NDArray[np.float64]:
        """Upper edges of the bins, `BINS`."""
        return np.arange(1, BINS + 1, dtype=np.float64) * (self.span / BINS)

    def _widen(self, greatest: float) -> None:
        self.greatest = max(self.greatest, greatest)
        if self.greatest == 0.0:
            return
        # Not below float32's normal range, where BINS / span would overflow.
        span = 2.0 ** max(math.frexp(self.greatest)[1], -100)
        if self.span == 0.0:
            self.span = span
        factor = round(span / self.span)
        if factor > 1:
            self.counts = _pooled(self.counts, factor)
        self.span = max(span, self.span)


def _pooled(counts: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    pooled = np.zeros_like(counts)
    if factor >= len(counts):
        pooled[0] = counts.sum()
    else:
        pooled[: len(counts) // factor] = counts.reshape(-1, factor).sum(axis=1)
    return pooled
