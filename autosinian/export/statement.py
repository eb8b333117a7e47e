"""What a bundle states of its performance, and when a new measurement contradicts it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from autosinian.export.runs import is_maximized
from autosinian.export.statistics import Interval, prediction_interval

LEVEL = 0.99
"""Of new measurements of an unchanged machine, one in a hundred may lie outside."""

WIDE = 0.25
"""Half-width, as a share of the mean, from which a statement says little."""

NOISE_FLOOR = 0.10
"""Least half-width of the stated interval, as a share of the mean: machines differ between
sessions (clocks, temperature, neighbours) by more than rounds within one session show."""

RULE = (
    "stated is the Student t prediction interval for the mean of `future_rounds` new rounds, "
    "mean +- max(t * s * sqrt(1/rounds + 1/future_rounds), noise_floor * mean), at confidence "
    "`level`; a new mean on the slower side of it contradicts the statement; one on the faster "
    "side is reported and does not; because other load on a machine only ever slows, a slower "
    "mean is measured once more and the better of the two counts"
)


@dataclass(frozen=True)
class Statement:
    """The stated interval of one performance metric, by qualified name."""

    metric: str
    interval: Interval
    future_rounds: int

    def slower(self, mean: float) -> bool:
        """Whether a new mean lies beyond the interval on the slower side."""
        if is_maximized(self.metric):
            return mean < self.interval.low
        return mean > self.interval.high

    def faster(self, mean: float) -> bool:
        """Whether a new mean lies beyond the interval on the faster side."""
        if is_maximized(self.metric):
            return mean > self.interval.high
        return mean < self.interval.low

    def better(self, first: float, second: float) -> float:
        """The faster of two means."""
        return max(first, second) if is_maximized(self.metric) else min(first, second)

    def describe(self, mean: float) -> str:
        """A new mean beside the interval, in words."""
        low, high = self.interval.low, self.interval.high
        return f"{self.metric} {mean:,.6g}, stated {low:,.6g} to {high:,.6g}"

    @property
    def width(self) -> float:
        """Half of the interval as a share of its mean."""
        return (self.interval.high - self.interval.mean) / self.interval.mean

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "metric": self.metric,
            "future_rounds": self.future_rounds,
            "interval": self.interval.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Statement":
        """Inverse of `to_dict`."""
        interval = Interval.from_dict(value["interval"])
        return cls(str(value["metric"]), interval, int(value["future_rounds"]))


def state(metric: str, values: Sequence[float], future_rounds: int) -> Statement:
    """What the rounds' values of one metric let a bundle state."""
    interval = prediction_interval(values, LEVEL, future_rounds, NOISE_FLOOR)
    # Rates and latencies are above zero, which a symmetric interval of few values may not know.
    return Statement(metric, replace(interval, low=max(0.0, interval.low)), future_rounds)
