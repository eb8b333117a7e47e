"""What a study has found so far, read back from its trials as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.noise import Noise, read_noise
from autosinian.search.storage import (
    BASELINE_ATTRIBUTE,
    DOCUMENT_ATTRIBUTE,
    SEED_ATTRIBUTE,
    VERSIONS_ATTRIBUTE,
)
from autosinian.space.candidate import Candidate
from autosinian.space.document import Document

PREDICTORS_ATTRIBUTE = "autosinian:predictors"
CANDIDATE = "candidate"
EVALUATION = "evaluation"
REASON = "reason"


@dataclass(frozen=True)
class Record:
    """One trial. `state` is `measured`, `infeasible`, `lost` (interrupted, retried) or `running`.

    `violations` maps each constraint's text to how far it is missed (zero or less: it holds);
    `reason` says in words why an infeasible trial is so. `elapsed_s` counts from the study's
    first trial to this one's end.
    """

    number: int
    state: str
    candidate: Candidate | None
    evaluation: Evaluation | None
    violations: dict[str, float]
    reason: str
    duration_s: float
    elapsed_s: float

    @property
    def metrics(self) -> dict[str, float]:
        """Measured figures by metric name; empty before any."""
        return self.evaluation.metrics if self.evaluation else {}

    @property
    def feasible(self) -> bool:
        """Measured completely and no constraint missed."""
        return self.state == "measured"


@dataclass(frozen=True)
class Outcome:
    """A study: its space, its baseline and its trials.

    `predictors` maps a figure to how well the sampler's predictor ranks held-back trials:
    `rank_correlation`, and `trials` that it learned from; empty for a sampler without.
    `front` are the feasible records that no other dominates, by the first objective; `best` is
    the feasible record with the best last-named objective other than accuracy.
    """

    name: str
    document: Document
    seed: int | None
    versions: dict[str, str]
    baseline: Evaluation | None
    baseline_candidate: Candidate | None
    records: tuple[Record, ...]
    noise: tuple[Noise, ...] = ()
    predictors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Metric names of the objectives."""
        return tuple(str(metric) for metric in self.document.metrics)

    @property
    def reference(self) -> dict[str, float]:
        """The baseline's figures, which constraints call `reference`."""
        return self.baseline.metrics if self.baseline else {}

    @property
    def feasible(self) -> list[Record]:
        """Feasible records in the order of their trials."""
        return [record for record in self.records if record.feasible]

    @property
    def front(self) -> list[Record]:
        """The Pareto front, best first objective first."""
        found = [r for r in self.feasible if not any(self._beats(o, r) for o in self.feasible)]
        first = self.document.metrics[0]
        sign = -1.0 if first.maximized else 1.0
        return sorted(found, key=lambda r: (sign * r.metrics[str(first)], r.number))

    @property
    def best(self) -> Record | None:
        """The front's record with the best performance objective; None while none is feasible."""
        ranked = self.ranked()
        return ranked[0] if ranked else None

    def ranked(self) -> list[Record]:
        """Feasible records, best performance objective first."""
        metric = self.deciding_metric
        sign = -1.0 if metric.maximized else 1.0
        return sorted(self.feasible, key=lambda r: (sign * r.metrics[str(metric)], r.number))

    @property
    def deciding_metric(self) -> Any:
        """The objective that decides the best: the last that is not accuracy, else accuracy."""
        others = [m for m in self.document.metrics if m.name != "accuracy"]
        return (others or list(self.document.metrics))[-1]

    def _beats(self, other: Record, record: Record) -> bool:
        better = False
        for metric in self.document.metrics:
            sign = 1.0 if metric.maximized else -1.0
            difference = sign * (other.metrics[str(metric)] - record.metrics[str(metric)])
            if difference < 0:
                return False
            better = better or difference > 0
        return better

    def summary(self) -> dict[str, Any]:
        """The study in plain data, JSON-ready: what `--json` prints."""
        states = [record.state for record in self.records]
        return {
            "study": self.name,
            "objectives": list(self.objectives),
            "constraints": list(self.document.constraints),
            "seed": self.seed,
            "trials": len(self.records),
            "measured": states.count("measured"),
            "infeasible": states.count("infeasible"),
            "lost": states.count("lost"),
            "baseline": self.reference,
            "best": _brief(self.best) if self.best else None,
            "front": [_brief(record) for record in self.front],
        }


def read_outcome(study: optuna.Study) -> Outcome:
    """Read a study made by `autosinian search`."""
    attributes = study.user_attrs
    baseline = attributes.get(BASELINE_ATTRIBUTE)
    measured = Evaluation.from_dict(baseline["evaluation"]) if baseline else None
    trials = study.get_trials(deepcopy=False)
    first = min((t.datetime_start for t in trials if t.datetime_start), default=None)
    return Outcome(
        name=study.study_name,
        document=Document.model_validate(attributes[DOCUMENT_ATTRIBUTE]),
        seed=attributes.get(SEED_ATTRIBUTE),
        versions=dict(attributes.get(VERSIONS_ATTRIBUTE, {})),
        baseline=measured,
        baseline_candidate=Candidate.from_dict(baseline["candidate"]) if baseline else None,
        records=tuple(_record(trial, first) for trial in trials),
        noise=read_noise(attributes, measured),
        predictors=dict(attributes.get(PREDICTORS_ATTRIBUTE, {})),
    )


def _record(trial: FrozenTrial, first: datetime | None) -> Record:
    attributes = trial.user_attrs
    violations = dict(trial.constraints)
    if trial.state == TrialState.COMPLETE and all(v <= 0 for v in violations.values()):
        state = "measured"
    elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        state = "infeasible"
    else:
        state = "lost" if trial.state == TrialState.FAIL else "running"
    evaluation = attributes.get(EVALUATION)
    candidate = attributes.get(CANDIDATE)
    end = trial.datetime_complete
    return Record(
        number=trial.number,
        state=state,
        candidate=Candidate.from_dict(candidate) if candidate else None,
        evaluation=Evaluation.from_dict(evaluation) if evaluation else None,
        violations=violations,
        reason=str(attributes.get(REASON, "")),
        duration_s=trial.duration.total_seconds() if trial.duration else 0.0,
        elapsed_s=(end - first).total_seconds() if end and first else 0.0,
    )


def _brief(record: Record) -> dict[str, Any]:
    return {
        "trial": record.number,
        "metrics": record.metrics,
        "candidate": record.candidate.to_dict() if record.candidate else None,
    }
