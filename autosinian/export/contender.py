"""The candidates that are measured again: the study's best few, and its baseline."""

from dataclasses import dataclass
from pathlib import Path

from autosinian.errors import InputError
from autosinian.evaluate.evaluator import Evaluator
from autosinian.evaluate.quiet import working
from autosinian.search.nearest import misses, nearest
from autosinian.search.outcome import Outcome, Record
from autosinian.space.candidate import Candidate


@dataclass(frozen=True)
class Contender:
    """One candidate ready to run. `trial` is None for the baseline.

    `metrics` are the search's own figures; `accuracy` among them is of the search split.
    """

    trial: int | None
    candidate: Candidate
    metrics: dict[str, float]
    model: Path
    engine_file: Path

    @property
    def name(self) -> str:
        """What it is called in messages and folders: `trial-00012`, `baseline`."""
        return "baseline" if self.trial is None else f"trial-{self.trial:05d}"

    def rate(self, scenario: str) -> float | None:
        """What the search measured in a scenario, in samples/s."""
        return self.metrics.get(f"{scenario}.samples_per_second")


def pick(outcome: Outcome, top: int) -> list[Record]:
    """The best few feasible records, best first.

    Raises `InputError` saying which constraint the nearest candidate misses where none is feasible.
    """
    ranked = outcome.ranked()
    if ranked:
        return ranked[:top]
    near = nearest(outcome, 1)
    if not near:
        raise InputError(
            f"study `{outcome.name}` must have a measured trial, but has none yet; run "
            "`autosinian search` on"
        )
    count = sum(record.state == "infeasible" for record in outcome.records)
    raise InputError(
        f"study `{outcome.name}` must have a feasible trial, but of {count} none is; the "
        f"nearest, trial {near[0].number}, {misses(outcome, near[0])}; search on or loosen the "
        "constraint"
    )


def baseline_contender(outcome: Outcome, evaluator: Evaluator) -> Contender:
    """The baseline, ready to run. Raises `InputError` where the study has not measured it."""
    if outcome.baseline is None or outcome.baseline_candidate is None:
        raise InputError(
            f"study `{outcome.name}` must have a measured baseline, but has none yet; run "
            "`autosinian search` on"
        )
    return _ready(None, outcome.baseline_candidate, outcome.baseline.metrics, evaluator)


def contender(record: Record, evaluator: Evaluator) -> Contender:
    """A trial's candidate, ready to run: its files are made again where they are gone."""
    assert record.candidate is not None
    return _ready(record.number, record.candidate, record.metrics, evaluator)


def _ready(
    trial: int | None, candidate: Candidate, metrics: dict[str, float], evaluator: Evaluator
) -> Contender:
    with working():
        model = evaluator.networks.model(candidate)
    with working(evaluator.workers.devices):
        return Contender(trial, candidate, metrics, model, evaluator.build(candidate, model))
