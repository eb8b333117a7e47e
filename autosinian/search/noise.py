"""How much a figure scatters when nothing changes: the baseline measured again now and then."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from autosinian.evaluate.evaluation import Evaluation, check_figures, scenario_metrics
from autosinian.evaluate.quiet import alone, working
from autosinian.space.candidate import Candidate

if TYPE_CHECKING:
    import optuna

    from autosinian.evaluate.evaluator import Evaluator

NOISE_ATTRIBUTE = "autosinian:noise"
"""Begins the keys of one study attribute for each repetition, so that none overwrites another's."""

TRIALS_A_REPETITION = 20
MOST_REPETITIONS = 10


@dataclass(frozen=True)
class Noise:
    """The values of one metric of one configuration, in the order they were measured."""

    metric: str
    values: tuple[float, ...]

    @property
    def relative(self) -> float:
        """Standard deviation of one measurement as a share of the mean."""
        return stdev(self.values) / fmean(self.values)

    @property
    def drift(self) -> float:
        """The mean of the second half against that of the first, as a share."""
        half = len(self.values) // 2
        return fmean(self.values[-half:]) / fmean(self.values[:half]) - 1.0


def repetition_due(repetitions: int, finished: int) -> bool:
    """Whether the baseline is to be measured once more, after so many finished trials."""
    return repetitions < min(finished // TRIALS_A_REPETITION, MOST_REPETITIONS)


def repetitions(attributes: Mapping[str, Any]) -> list[dict[str, float]]:
    """The baseline's figures of each repetition, from a study's attributes, oldest first."""
    found = [v for k, v in attributes.items() if k.startswith(f"{NOISE_ATTRIBUTE}:")]
    return [dict(v["metrics"]) for v in sorted(found, key=lambda v: v["finished"])]


def read_noise(attributes: Mapping[str, Any], baseline: Evaluation | None) -> tuple[Noise, ...]:
    """The noise of each performance figure; empty until the baseline was measured three times."""
    rounds = repetitions(attributes)
    if baseline is None or len(rounds) < 2:
        return ()
    found = []
    for metric, first in baseline.metrics.items():
        values = [first, *(r[metric] for r in rounds if metric in r)]
        if "." in metric and len(values) > 2:
            found.append(Noise(metric, tuple(values)))
    return tuple(found)


def repeat(
    study: "optuna.Study", evaluator: "Evaluator", baseline: Candidate, trial: int, finished: int
) -> None:
    """Measure the baseline's performance once more and keep it. Raises `TrialFailure`.

    `trial` is the last one's number; it names the logs and the attribute.
    """
    with working():
        model = evaluator.networks.model(baseline)
    with working(evaluator.workers.devices):
        engine_file = evaluator.build(baseline, model)
    metrics: dict[str, float] = {}
    for scenario in evaluator.scenarios:
        with alone(evaluator.workers.devices):
            measured = evaluator.performance(
                baseline,
                engine_file,
                scenario,
                f"baseline-again-{trial:05d}",
                offline=metrics.get("Offline.samples_per_second"),
            )
        if measured.valid and not measured.disturbance:
            metrics |= scenario_metrics(measured)
    check_figures(metrics, "performance")
    value = {"metrics": metrics, "finished": finished}
    study.set_user_attr(f"{NOISE_ATTRIBUTE}:{trial:05d}", value)
