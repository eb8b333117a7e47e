"""The candidates that are measured again: the study's best few, and its baseline."""

from dataclasses import dataclass
from pathlib import Path

from autosinian.errors import InputError
from autosinian.evaluate.evaluator import Evaluator
from autosinian.evaluate.quiet import working
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
    finished = [r for r in outcome.records if r.state == "infeasible"]
    if not finished:
        raise InputError(
            f"study `{outcome.name}` must have a measured trial, but has none yet; run "
            "`autosinian search` on"
        )
    nearest = min(finished, key=lambda r: sum(max(0.0, v) for v in r.violations.values()))
    raise InputError(
        f"study `{outcome.name}` must have a feasible trial, but of {len(finished)} none is; the "
        f"nearest, trial {nearest.number}, {_misses(outcome, nearest)}; search on or loosen the "
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


def _misses(outcome: Outcome, record: Record) -> str:
    rules = {rule.text: rule for rule in outcome.document.rules}
    known = {
        text: violation
        for text, violation in record.violations.items()
        if text in rules and violation > 0 and str(rules[text].metric) in record.metrics
    }
    if not known:
        return f"failed: {record.reason or 'no reason recorded'}"
    text = max(known, key=lambda t: known[t])
    bound = rules[text].bound(outcome.reference)
    value = record.metrics[str(rules[text].metric)]
    return f"misses `{text}` by {100 * known[text]:.2g} % ({value:.4g} against {bound:.4g})"
