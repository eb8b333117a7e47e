"""A study under other constraints: what was measured is judged anew, nothing is measured again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from autosinian.errors import InputError
from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.judge import Judge
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON
from autosinian.search.storage import (
    BASELINE_ATTRIBUTE,
    DOCUMENT_ATTRIBUTE,
    SPACE_ATTRIBUTE,
)
from autosinian.space.candidate import Candidate
from autosinian.space.document import Document
from autosinian.store.store import Store

CONSTRAINTS = "constraints"


@dataclass(frozen=True)
class Rejudged:
    """How many trials were judged anew, how many of them changed sides, and how many that ended
    early at a constraint may be measured now."""

    trials: int
    now_feasible: int
    now_infeasible: int
    reopened: int

    def __str__(self) -> str:
        return (
            f"{self.trials} trials judged by the new constraints: {self.now_feasible} became "
            f"feasible, {self.now_infeasible} infeasible; {self.reopened} that had ended early "
            "will be measured"
        )


def rejudge(
    study: optuna.Study,
    storage: RDBStorage,
    store: Store,
    document: Document,
    fingerprint: Mapping[str, Any],
) -> Rejudged:
    """Give `study` the constraints of `document`, all of its trials in one transaction.

    Open the study again afterwards: Optuna caches finished trials. Raises `InputError` where more
    than the constraints differs, and while another search works on the study.
    """
    known = study.user_attrs[SPACE_ATTRIBUTE]
    others = [k for k in {*known, *fingerprint} if known.get(k) != fingerprint.get(k)]
    if set(others) - {CONSTRAINTS}:
        raise InputError(
            f"`--new-constraints` must find nothing else changed, but `{'`, `'.join(others)}` of "
            f"study `{study.study_name}` differ; restore the file, or choose another `--study`"
        )
    alive = {claim.candidate for claim in store.stale()}
    if any(c.state == "running" and c.candidate not in alive for c in store.claims()):
        raise InputError(
            f"`--new-constraints` must have study `{study.study_name}` to itself, but another "
            "search works on it; end that one first"
        )
    baseline = study.user_attrs.get(BASELINE_ATTRIBUTE)
    reference = baseline["evaluation"]["metrics"] if baseline else {}
    judge = Judge(document, reference)
    verdicts = [_Verdict(trial, judge) for trial in study.get_trials(deepcopy=False)]
    verdicts = [verdict for verdict in verdicts if verdict.finished]
    with _create_scoped_session(storage.scoped_session) as session:
        for verdict in verdicts:
            _replace(session, verdict)
        for key, value in (
            (DOCUMENT_ATTRIBUTE, document.model_dump(mode="json")),
            (SPACE_ATTRIBUTE, dict(fingerprint)),
        ):
            session.query(models.StudyUserAttributeModel).filter_by(
                study_id=study._study_id, key=key
            ).update({"value_json": json.dumps(value)})
    reopened = [v.candidate for v in verdicts if v.may_be_measured and v.candidate is not None]
    for candidate in reopened:
        store.reopen(candidate.key)
    return Rejudged(
        len(verdicts),
        sum(v.feasible and not v.was_feasible for v in verdicts),
        sum(v.was_feasible and not v.feasible for v in verdicts),
        len(reopened),
    )


class _Verdict:
    """One trial under the new constraints."""

    def __init__(self, trial: FrozenTrial, judge: Judge) -> None:
        self.trial_id = trial._trial_id
        self.finished = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        given, candidate = trial.user_attrs.get(EVALUATION), trial.user_attrs.get(CANDIDATE)
        self.candidate = Candidate.from_dict(candidate) if candidate else None
        evaluation = Evaluation.from_dict(given) if given else None
        if evaluation is None:
            self.violations, self.reason = judge.failure(), str(trial.user_attrs.get(REASON, ""))
        else:
            self.violations = judge.violations(evaluation)
            self.reason = judge.reason(evaluation)
        complete = trial.state == TrialState.COMPLETE
        self.was_feasible = complete and all(v <= 0 for v in trial.constraints.values())
        self.feasible = complete and all(v <= 0 for v in self.violations.values())
        self.may_be_measured = (
            evaluation is not None
            and not evaluation.complete
            and not judge.refuse(evaluation.metrics)
        )
        if self.may_be_measured:
            self.reason = "ended early at a constraint that the study has no more; to be measured"


def _replace(session: Any, verdict: _Verdict) -> None:
    kept = models.TrialSystemAttributeModel
    session.query(kept).filter(
        kept.trial_id == verdict.trial_id, kept.key.startswith(f"{_CONSTRAINTS_KEY}:")
    ).delete(synchronize_session=False)
    for text, violation in verdict.violations.items():
        session.add(
            kept(
                trial_id=verdict.trial_id,
                key=f"{_CONSTRAINTS_KEY}:{text}",
                value_json=json.dumps(violation),
            )
        )
    session.query(models.TrialUserAttributeModel).filter_by(
        trial_id=verdict.trial_id, key=REASON
    ).update({"value_json": json.dumps(verdict.reason)})
