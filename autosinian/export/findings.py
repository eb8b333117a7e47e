"""Everything an export measured, before it is written."""

from dataclasses import dataclass
from pathlib import Path

from autosinian.export.choose import Choice
from autosinian.export.contender import Contender
from autosinian.export.remeasure import Remeasured
from autosinian.export.runs import Limits
from autosinian.export.statement import Statement, state
from autosinian.measure.measurement import Job, Measurement


@dataclass(frozen=True)
class Findings:
    """`entries` are the re-measured candidates, the baseline first; `winner` is one of them, and
    `choice` says how it was told from the others.

    `accuracy` and `baseline_accuracy` are AccuracyOnly runs on the validation samples, `final` the
    winner's longer run of each scenario, `jobs` what its rounds ran, `logs` the folder of all raw
    logs. `confidence` is the level of the confidence intervals.
    """

    winner: Remeasured
    choice: Choice
    entries: tuple[Remeasured, ...]
    accuracy: Measurement
    baseline_accuracy: Measurement
    final: dict[str, Measurement]
    jobs: dict[str, Job]
    limits: Limits
    rounds: int
    seconds: float
    final_seconds: float
    confidence: float
    logs: Path

    @property
    def baseline(self) -> Remeasured:
        """The baseline's rounds."""
        return self.entries[0]

    @property
    def contender(self) -> Contender:
        """The winner's candidate."""
        return self.winner.contender

    def statements(self, metrics: list[str]) -> list[Statement]:
        """What the bundle states of the winner's performance."""
        return [state(name, self.winner.values[name], self.rounds) for name in metrics]
