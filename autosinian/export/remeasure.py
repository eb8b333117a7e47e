"""Several candidates measured again in turn, so that what the machine does hits all alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autosinian.errors import TrialFailure
from autosinian.export.contender import Contender
from autosinian.export.runs import Limits, for_duration, perform, performance_metrics
from autosinian.export.statistics import Interval, confidence_interval
from autosinian.measure.measurement import Job
from autosinian.measure.workers import Workers

OnRun = Callable[[str], None]


@dataclass
class Remeasured:
    """A contender's figures, one a round, by metric; `failure` says why it is out, if it is.

    `disturbances` says of which runs what disturbed them, also when they were repeated.
    """

    contender: Contender
    values: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""
    disturbances: list[str] = field(default_factory=list)

    def interval(self, metric: str, level: float) -> Interval:
        """Confidence interval of a metric's mean over the rounds."""
        return confidence_interval(self.values[metric], level)

    def means(self) -> dict[str, float]:
        """The mean of every metric over the rounds."""
        return {name: sum(values) / len(values) for name, values in self.values.items()}


def remeasure(
    entries: Sequence[Remeasured],
    jobs: Callable[[Contender, str], Job],
    scenarios: Sequence[str],
    *,
    rounds: Sequence[int],
    seconds: float,
    workers: Workers,
    limits: Limits,
    folder: Path,
    on_run: OnRun,
) -> None:
    """Run every contender once in each of `rounds`, in an order that is reversed every other round.

    Reversal cancels a drift of the machine's speed to first order. `jobs` gives a contender's job
    of a scenario; logs go to `folder/<round>/<contender>/<scenario>`. A contender that fails once
    is out and costs no more time. Figures are added to `entries`.
    """
    for number in rounds:
        for entry in entries if number % 2 else reversed(entries):
            for scenario in scenarios:
                if entry.failure:
                    continue
                name = entry.contender.name
                on_run(f"round {number}: {name}, {scenario}")
                place = folder / f"{number:02d}" / name / scenario
                job = for_duration(jobs(entry.contender, scenario), seconds, place)
                try:
                    rate = entry.contender.rate(scenario)
                    measured = perform(job, workers, limits, expected_rate=rate)
                    if measured.disturbance:
                        words = f"round {number}, {scenario}: {measured.disturbance}"
                        entry.disturbances.append(words)
                    for metric, value in performance_metrics(measured).items():
                        entry.values.setdefault(metric, []).append(value)
                except TrialFailure as failure:
                    entry.failure = str(failure)
