"""LoadGen's log folders: which kind of run each holds, read from the settings in its detail log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.measure.logs import read_detail
from autosinian.mlperf.rules import SCORES

DETAIL = "mlperf_log_detail.txt"
SUMMARY = "mlperf_log_summary.txt"
ACCURACY = "mlperf_log_accuracy.json"


@dataclass(frozen=True)
class RunLog:
    """One folder of logs; `values` are the detail log's last values by key."""

    folder: Path
    values: dict[str, Any]
    errors: tuple[str, ...]

    @property
    def scenario(self) -> str:
        """The scenario that LoadGen ran, or nothing where the log does not say."""
        return str(self.values.get("effective_scenario", ""))

    @property
    def kind(self) -> str:
        """`performance`, `accuracy`, `TEST01`, `TEST04`, or LoadGen's name of another mode.

        TEST05 differs from a performance run by its seeds alone, so it is told by its folder.
        """
        mode = str(self.values.get("effective_test_mode", "unknown"))
        if mode == "AccuracyOnly":
            return "accuracy"
        if mode != "PerformanceOnly":
            return mode
        if self.values.get("effective_accuracy_log_sampling_target"):
            return "TEST01"
        if self.values.get("effective_performance_issue_same"):
            return "TEST04"
        return "performance"

    def number(self, key: str) -> float:
        """A number of the log; 0 where it is absent or none."""
        value = self.values.get(key)
        return float(value) if isinstance(value, int | float) else 0.0

    @property
    def valid(self) -> bool:
        """Whether LoadGen called the performance run VALID."""
        return self.values.get("result_validity") == "VALID"

    @property
    def score(self) -> float | None:
        """The ranked figure, samples/s or ns; None where LoadGen gives none (it then writes 0)."""
        return self.number(SCORES.get(self.scenario, "")) or None


def read_run(folder: Path) -> RunLog | None:
    """The run whose detail log lies in `folder`; None where there is none, or something else."""
    try:
        text = (folder / DETAIL).read_text(encoding="utf-8", errors="replace")
        values, errors = read_detail(text)
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    return RunLog(folder, values, tuple(errors))


def find_runs(root: Path) -> list[RunLog]:
    """Every run below `root`, the newest first."""
    found = sorted(root.rglob(DETAIL), key=lambda path: path.stat().st_mtime, reverse=True)
    return [run for path in found if (run := read_run(path.parent)) is not None]
