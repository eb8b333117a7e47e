"""Intervals for the mean of repeated measurements: Student's t, without a library."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from autosinian.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A mean of `n` values, and bounds that hold what they are stated for with `level`."""

    mean: float
    low: float
    high: float
    level: float
    n: int

    def pessimistic(self, *, maximized: bool) -> float:
        """The bound that is worse for a figure that is to be large, or small."""
        return self.low if maximized else self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Interval":
        """Inverse of `to_dict`."""
        return cls(**value)


def student_t_quantile(level: float, degrees: int) -> float:
    """`t` with `P(|T| < t) = level` for Student's distribution of that many degrees of freedom.

    The central probability is a finite sum in `theta = atan(t / sqrt(degrees))` (Abramowitz and
    Stegun, 26.7.3 and 26.7.4), which grows with `theta`: halving finds it.
    """
    if degrees < 1 or not 0.0 <= level < 1.0:
        raise InputError(
            f"`degrees >= 1` and `0 <= level < 1` must hold, but got {degrees} and {level}"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(theta: float, degrees: int) -> float:
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2 == 1
    if odd and degrees == 1:
        return 2 * theta / math.pi
    term = cosine if odd else 1.0
    total = term
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def confidence_interval(values: Sequence[float], level: float) -> Interval:
    """Where the true mean lies, from at least two independent normal values."""
    return _interval(values, level, 1 / len(values) if values else 0.0)


def prediction_interval(
    values: Sequence[float], level: float, future: int, floor: float
) -> Interval:
    """Where the mean of `future` new values will lie; never narrower than `floor` of the mean.

    Both means scatter, so the variance is `s^2 (1/n + 1/future)` (Hahn and Meeker, Statistical
    Intervals, 4.8). `floor` stands for what rounds in one session cannot show: that the machine
    itself is slower or faster another day.
    """
    if future < 1 or floor < 0.0:
        raise InputError(f"`future >= 1` and `floor >= 0` must hold, but got {future} and {floor}")
    found = _interval(values, level, 1 / max(len(values), 1) + 1 / future)
    reach = max(found.high - found.mean, floor * abs(found.mean))
    return Interval(found.mean, found.mean - reach, found.mean + reach, level, found.n)


def _interval(values: Sequence[float], level: float, variance_factor: float) -> Interval:
    n = len(values)
    if n < 2:
        raise InputError(f"an interval needs at least 2 values, but got {n}; measure more rounds")
    mean = fmean(values)
    reach = student_t_quantile(level, n - 1) * stdev(values) * math.sqrt(variance_factor)
    return Interval(mean, mean - reach, mean + reach, level, n)
