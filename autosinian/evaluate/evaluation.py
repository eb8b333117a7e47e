"""What is known of one candidate after its stages: plain data."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autosinian.errors import TrialFailure
from autosinian.measure.measurement import Measurement
from autosinian.space.rules import LATENCY_PERCENTILES

Known = tuple[float, float]
"""A figure that is known by now and its standard deviation, 0 where it is exact."""
Decide = Callable[[Mapping[str, Known]], str]
"""Asked between stages with the figures by metric name: why to stop, or an empty text."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one candidate, by metric name (see `autosinian.space.rules.Metric`).

    `complete` is false where a constraint was missed before the later stages ran, or where they
    were not worth their time: then `stopped` says why.
    `stage_s` holds the seconds of each stage, `overhead_s` those of them that were neither
    inference nor LoadGen's own run time. `files` maps a role (`net`, `model`, `engine`,
    `calibration`) to a path below the work folder.
    """

    metrics: dict[str, float]
    complete: bool
    measurements: tuple[Measurement, ...] = ()
    stage_s: dict[str, float] = field(default_factory=dict)
    overhead_s: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    data_keys: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def valid(self) -> bool:
        """LoadGen's verdict over all performance runs."""
        return all(m.valid for m in self.measurements)

    @property
    def invalid_reason(self) -> str:
        """Why LoadGen refused, scenario by scenario."""
        return "; ".join(
            f"{m.scenario}: {m.invalid_reason or 'INVALID'}"
            for m in self.measurements
            if not m.valid
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "metrics": dict(self.metrics),
            "complete": self.complete,
            "measurements": [m.to_dict() for m in self.measurements],
            "stage_s": dict(self.stage_s),
            "overhead_s": self.overhead_s,
            "files": dict(self.files),
            "data_keys": dict(self.data_keys),
            **({"stopped": self.stopped} if self.stopped else {}),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Evaluation":
        """Inverse of `to_dict`."""
        measurements = tuple(Measurement.from_dict(m) for m in value["measurements"])
        return cls(**{**value, "measurements": measurements})


def check_figures(metrics: Mapping[str, float], stage: str) -> None:
    """Raise `TrialFailure` for a figure that nothing real can have: NaN, infinite, below zero.

    Rates and latencies must be above zero, accuracies at most 1.
    """
    for name, value in metrics.items():
        figure = name.rpartition(".")[2]
        timed = figure in ("samples_per_second", "latency_ms")
        most = 1.0 if figure == "accuracy" else math.inf
        if not math.isfinite(value) or value < 0 or value > most or (timed and value == 0):
            raise TrialFailure(
                stage, f"{name} must be a figure that can be, but was measured as {value}"
            )


def scenario_metrics(measurement: Measurement) -> dict[str, float]:
    """The metrics that one performance run gives, by qualified name.

    The latency is LoadGen's early-stopping estimate where it makes one, as MLPerf ranks it.
    """
    scenario = measurement.scenario
    metrics: dict[str, float] = {}
    if measurement.samples_per_second is not None:
        metrics[f"{scenario}.samples_per_second"] = measurement.samples_per_second
    percentile = LATENCY_PERCENTILES.get(scenario)
    if percentile is not None:
        latency_ns = measurement.early_stopping_latency_ns or measurement.latency_ns.get(percentile)
        if latency_ns is not None:
            metrics[f"{scenario}.latency_ms"] = latency_ns / 1e6
    return metrics
