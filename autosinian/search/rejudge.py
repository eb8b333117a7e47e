"""A study under other constraints: what was measured is judged anew, nothing is measured again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from autosinian.errors import InputError
from autosinian.evaluate.evaluation import Evaluation
from autosinian.search import trial_writing as writing
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
    running, stale = store.running()
    if len(running) > len(stale):
        raise InputError(
            f"`--new-constraints` must have study `{study.study_name}` to itself, but another "
            "search works on it; end that one first"
        )
    baseline = study.user_attrs.get(BASELINE_ATTRIBUTE)
    reference = baseline["evaluation"]["metrics"] if baseline else {}
    judge = Judge(document, reference)
    verdicts = [_Verdict(trial, judge) for trial in study.get_trials(deepcopy=False)]
    verdicts = [verdict for verdict in verdicts if verdict.finished]
    texts = {
        DOCUMENT_ATTRIBUTE: json.dumps(document.model_dump(mode="json")),
        SPACE_ATTRIBUTE: json.dumps(dict(fingerprint)),
    }

    def once(connection: sa.Connection) -> None:
        for verdict in verdicts:
            _replace(connection, verdict)
        for key, text in texts.items():
            writing.write_study_attribute(
                connection, writing.STUDY_USER, study._study_id, key, text
            )

    store.database.transact(once)
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


def _replace(connection: sa.Connection, verdict: _Verdict) -> None:
    table = writing.SYSTEM
    connection.execute(
        table.delete().where(
            table.c.trial_id == verdict.trial_id,
            table.c.key.startswith(f"{_CONSTRAINTS_KEY}:", autoescape=True),
        )
    )
    texts = {f"{_CONSTRAINTS_KEY}:{t}": json.dumps(v) for t, v in verdict.violations.items()}
    reason = {REASON: json.dumps(verdict.reason)}
    writing.fill(
        connection,
        verdict.trial_id,
        writing.rows_of_attributes(writing.SYSTEM, texts),
        writing.rows_of_attributes(writing.USER, reason),
    )
