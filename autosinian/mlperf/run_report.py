"""What one run gave: in LoadGen's digits for people, and as plain data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.measure.measurement import Measurement
from autosinian.mlperf.engines import Built
from autosinian.mlperf.figures import Summary
from autosinian.mlperf.request import Serving
from autosinian.mlperf.source import Source

PEAK = "FindPeakPerformance"


@dataclass(frozen=True)
class Report:
    """What one run gave. `measurement` has the figures, `summary` LoadGen's own digits."""

    source: Source
    serving: Serving
    mode: str
    engine: Built
    measurement: Measurement
    summary: Summary
    logs: Path
    samples: int
    as_exported: bool

    @property
    def good(self) -> int | None:
        """How many samples were labelled right; None where that is not what accuracy is."""
        accuracy = self.measurement.accuracy
        return (
            None
            if accuracy is None or self.source.task
            else round(accuracy * self.measurement.samples)
        )

    def lines(self) -> list[str]:
        """For people: the run, LoadGen's figures in its digits, the accuracy, the logs."""
        serving, summary = self.serving, self.summary
        lines = [
            f"{self.source.benchmark} {serving.scenario} {self.mode} on {serving.name}, "
            f"{serving.precision}, batch size {serving.config.batch_size}"
        ]
        figures = (summary.figure, summary.early_stopping)
        lines += [f"{figure.name}: {figure.text}" for figure in figures if figure is not None]
        if self.mode == PEAK and self.measurement.target_qps is not None:
            lines.append(
                f"highest rate that held: {self.measurement.target_qps} queries/s, in "
                f"{self.measurement.probes} runs"
            )
        if summary.result:
            lines.append(f"Result is: {summary.result}")
        if self.measurement.accuracy is not None:
            if self.source.task:
                # As accuracy-coco.py of the MLPerf reference implementation prints it.
                lines.append(f"mAP={100 * self.measurement.accuracy:.3f}%")
                return [*lines, f"logs: {self.logs}"]
            # As accuracy-imagenet.py of the MLPerf reference implementation prints it.
            lines.append(
                f"accuracy={100 * self.measurement.accuracy:.3f}%, good={self.good}, "
                f"total={self.measurement.samples}"
            )
        return [*lines, f"logs: {self.logs}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; `text` holds LoadGen's digits."""
        named = {"figure": self.summary.figure, "early_stopping": self.summary.early_stopping}
        return {
            "benchmark": self.source.benchmark,
            "scenario": self.serving.scenario,
            "mode": self.mode,
            "system": self.serving.system,
            "config_ver": self.serving.version,
            "precision": self.serving.precision,
            "engine": {
                "engine": self.serving.config.engine,
                "batch_size": self.serving.config.batch_size,
                "options": dict(self.serving.config.options),
            },
            "engine_file": {"path": str(self.engine.path), "state": self.engine.state},
            "valid": self.measurement.valid,
            "invalid_reason": self.measurement.invalid_reason,
            "result": self.summary.result,
            **{
                key: None if f is None else {"name": f.name, "text": f.text, "value": f.value}
                for key, f in named.items()
            },
            "accuracy": self.measurement.accuracy,
            "good": self.good,
            "total": self.measurement.samples if self.good is not None else None,
            "validation_samples": self.samples,
            "samples_as_exported": self.as_exported,
            "measurement": self.measurement.to_dict(),
            "logs": str(self.logs),
        }
