"""Figures as a predictor likes them: smaller is better, mean 0, deviation about 1, short tails."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from autosinian.search.strategy.axes import Array

LOG_FROM = 2.5
"""Positive figures whose greatest is this many times their least are modelled by logarithm."""
TAIL = 2.0


@dataclass(frozen=True)
class Target:
    """A monotone map from a figure to what is modelled, which is minimised.

    `sign` is -1 where the figure is maximised. Beyond `TAIL` deviations on the bad side the scale
    is logarithmic: how bad a bad one is teaches nothing about the good.
    """

    sign: float
    log: bool
    centre: float
    scale: float

    @classmethod
    def of(cls, figures: Array, *, maximized: bool) -> "Target":
        """The map for these figures, all finite."""
        log = bool(figures.min() > 0 and figures.max() > LOG_FROM * figures.min())
        sign = -1.0 if maximized else 1.0
        raw = sign * (np.log(figures) if log else figures)
        centre = float(np.median(raw))
        # The spread of the better part: outliers on the bad side do not count.
        good = raw[raw <= np.quantile(raw, 0.8)]
        scale = float(max(good.std(), 0.3 * raw.std()))
        return cls(sign, log, centre, scale if scale > 1e-12 * max(1.0, abs(centre)) else 1.0)

    def forward(self, figures: Array) -> Array:
        """Figures to modelled values."""
        values = np.log(np.maximum(figures, 1e-300)) if self.log else figures
        scaled = (self.sign * values - self.centre) / self.scale
        over = np.maximum(scaled - TAIL, 0.0)
        return np.asarray(np.minimum(scaled, TAIL) + np.log1p(over))

    def backward(self, values: Array) -> Array:
        """Modelled values to figures."""
        over = np.expm1(np.minimum(np.maximum(values - TAIL, 0.0), 50.0))
        raw = self.sign * ((np.minimum(values, TAIL) + over) * self.scale + self.centre)
        return np.asarray(np.exp(np.minimum(raw, 700.0)) if self.log else raw)


def below(bound: Array, mean: Array, deviation: Array) -> Array:
    """Expectation of `max(bound - y, 0)` for normal `y`."""
    z = (bound - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray((bound - mean) * ndtr(z) + deviation * density)
