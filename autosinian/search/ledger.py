"""What is written of each trial, in an order that a process may be killed at anywhere.

A measurement is kept in the trial's own folder first; then what the study is told of it, the
trial's end and its claim's are one transaction, which fails as a whole where the claim is no longer
ours. Whoever finds a trial of a dead process takes its claim over and completes what is missing.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, Trial, TrialState

from autosinian.content import write_json
from autosinian.errors import TrialFailure, Unavailable
from autosinian.evaluate.evaluation import Evaluation, check_figures
from autosinian.search.judge import Judge
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON
from autosinian.search.sampler import is_finished
from autosinian.search.storage import BASELINE_ATTRIBUTE
from autosinian.search.strategy.history import KNOWN
from autosinian.search.study_storage import StudyStorage
from autosinian.space.candidate import Candidate
from autosinian.space.space import Space
from autosinian.store.store import MAX_ATTEMPTS, Claim, Store

KEPT = "evaluation.json"
UNCLAIMED_S = 30.0
"""A trial without a claim is being proposed; after so long whoever did it is dead."""


class LeaseLost(Exception):  # noqa: N818  (an event, not a mistake)
    """Another process took this trial over, because this one was silent for too long."""


class Ledger:
    """Writes the trials of one study; `folder` is its work folder."""

    def __init__(self, study: optuna.Study, store: Store, space: Space, folder: Path) -> None:
        self._study = study
        self._store = store
        self._space = space
        self._folder = folder
        self._baseline = space.baseline()
        self._reference: dict[str, float] = {}

    @property
    def reference(self) -> dict[str, float]:
        """The baseline's figures; empty before it is measured, the same ever after."""
        if not self._reference:
            kept = self._study.user_attrs.get(BASELINE_ATTRIBUTE)
            self._reference = dict(kept["evaluation"]["metrics"]) if kept else {}
        return dict(self._reference)

    def begin(self, trial: Trial, candidate: Candidate) -> None:
        """Write what a trial is of, so that whoever finds it knows."""
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        self._storage.write()

    def keep(self, trial: Trial | FrozenTrial, candidate: Candidate, measured: Evaluation) -> None:
        """Write a measurement to `runs/trial-NNNNN/evaluation.json`, before anything else.

        Raises `Unavailable` where there is no room for it.
        """
        value = _identity(trial, candidate) | {"evaluation": measured.to_dict()}
        try:
            write_json(self._kept(trial.number), value)
        except OSError as error:
            raise Unavailable(
                f"a measurement must be kept in `{self._folder}`, but: {error}; free space and run "
                "the same command again"
            ) from error

    def keep_baseline(self, evaluation: Evaluation) -> None:
        """Write the baseline's figures. Raises `InputError` for an accuracy bar above 1."""
        Judge(self._space.document, evaluation.metrics)
        value = {"candidate": self._baseline.to_dict(), "evaluation": evaluation.to_dict()}
        self._study.set_user_attr(BASELINE_ATTRIBUTE, value)

    def tell(self, trial: Trial | FrozenTrial, candidate: Candidate, measured: Evaluation) -> None:
        """Tell the study of a measured candidate and close its claim.

        Raises `LeaseLost`; `TrialFailure` for an evaluation without a figure it must have, and for
        one with a figure that cannot be.
        """
        check_figures(measured.metrics, "performance")
        reference = self.reference
        if candidate == self._baseline:
            self.keep_baseline(measured)
            reference = measured.metrics
        judge = Judge(self._space.document, reference)
        values = judge.values(measured)
        attributes: dict[str, Any] = {
            CANDIDATE: candidate.to_dict(),
            EVALUATION: measured.to_dict(),
            REASON: judge.reason(measured),
        }
        if values is None:
            attributes[KNOWN] = judge.partial(measured)
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        self._write(trial, attributes, judge.violations(measured))
        self._end_with_claim(trial, candidate.key, state, self._store.finish, values)

    def tell_infeasible(
        self, trial: Trial | FrozenTrial, candidate: Candidate, reason: str
    ) -> None:
        """Tell that a candidate cannot be measured, for good. Raises `LeaseLost`."""
        judge = Judge(self._space.document, self.reference)
        attributes = {CANDIDATE: candidate.to_dict(), REASON: reason}
        self._write(trial, attributes, judge.failure())
        self._end_with_claim(trial, candidate.key, TrialState.PRUNED, self._store.finish)

    def try_again(self, trial: Trial | FrozenTrial, candidate: Candidate, reason: str) -> bool:
        """End a trial that failed through no fault of its candidate; False where that was the last
        attempt, so that nothing was written. Raises `LeaseLost`."""
        claim = self._store.find(candidate.key)
        if (claim.attempts if claim else 1) >= MAX_ATTEMPTS:
            return False
        self._write(trial, {REASON: reason}, {})
        self._end_with_claim(trial, candidate.key, TrialState.FAIL, self._store.release)
        return True

    def give_back(self, trial: Trial | FrozenTrial, candidate: Candidate, reason: str) -> None:
        """End a trial that was interrupted: its candidate is proposed again, uncounted."""
        try:
            self._write(trial, {REASON: reason}, {})
            self._end_with_claim(trial, candidate.key, TrialState.FAIL, self._store.forget)
        except LeaseLost:
            self._store.forget(candidate.key)

    def give_back_proposals(self, reason: str) -> None:
        """End what this process was proposing when it was interrupted, and any claim of it."""
        claims, _ = self._store.running()
        for trial in self._storage.own_trials():
            self._write(trial, {REASON: reason}, {})
            self._end(trial, TrialState.FAIL)
            for claim in claims:
                if claim.trial == trial.number:
                    self._store.forget(claim.candidate)

    def sweep(self) -> None:
        """Complete, or free for another try, what dead processes held."""
        trials = {t.number: t for t in self._study.get_trials(deepcopy=False)}
        running, stale = self._store.running()
        for claim in stale:
            if self._store.take_over(claim):
                self._close(claim, trials.get(claim.trial), trials)
        held = {claim.trial for claim in running}
        for trial in trials.values():
            if trial.state == TrialState.RUNNING and trial.number not in held and _is_old(trial):
                # Killed before it had a claim, or between giving up the claim and saying so.
                self._end(trial, TrialState.FAIL)

    def _close(
        self, claim: Claim, trial: FrozenTrial | None, trials: dict[int, FrozenTrial]
    ) -> None:
        """Bring to an end what a dead process left; the claim is ours now."""
        if trial is None:  # the baseline outside the space has no trial
            self._store.release(claim.candidate)
        elif is_finished(trial):
            self._store.finish(claim.candidate)
        elif trial.state == TrialState.RUNNING and self._recover(trial, claim):
            return
        elif claim.attempts < MAX_ATTEMPTS or claim.candidate == self._baseline.key:
            # The baseline is always tried again: without it nothing can be judged.
            try:
                self._end_with_claim(trial, claim.candidate, TrialState.FAIL, self._store.release)
            except LeaseLost:  # it had ended all the same
                self._store.release(claim.candidate)
        else:
            self._end(trial, TrialState.FAIL)
            self._add_lost(claim, trial, trials)
            self._store.finish(claim.candidate)

    def _recover(self, trial: FrozenTrial, claim: Claim) -> bool:
        """Tell what was measured and kept before its process died."""
        candidate = self._candidate_of(trial)
        if candidate is None or candidate.key != claim.candidate:
            return False
        value: Any = trial.user_attrs.get(EVALUATION)
        try:
            kept = json.loads(self._kept(trial.number).read_text())
            if all(kept.get(k) == v for k, v in _identity(trial, candidate).items()):
                value = kept["evaluation"]
        except (OSError, ValueError):
            pass  # never written, or on another machine
        if value is None or (not self.reference and candidate != self._baseline):
            return False
        try:
            self.tell(trial, candidate, Evaluation.from_dict(value))
        except (TrialFailure, LeaseLost):
            return False
        return True

    def _add_lost(self, claim: Claim, trial: FrozenTrial, trials: dict[int, FrozenTrial]) -> None:
        """Record as infeasible what its process died of as often as it may."""
        candidate = self._candidate_of(trial)
        told = any(is_finished(t) and self._candidate_of(t) == candidate for t in trials.values())
        if candidate is None or told:
            return
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={
                    CANDIDATE: candidate.to_dict(),
                    REASON: f"the process that ran it died {claim.attempts} times",
                },
                constraints=Judge(self._space.document, {}).failure(),
            )
        )

    def _candidate_of(self, trial: FrozenTrial) -> Candidate | None:
        if CANDIDATE in trial.user_attrs:
            return Candidate.from_dict(trial.user_attrs[CANDIDATE])
        if set(trial.params) >= set(self._space.dimensions):
            return self._space.decode(trial.params)
        return None

    @property
    def _storage(self) -> StudyStorage:
        storage = self._study._storage
        assert isinstance(storage, StudyStorage)
        return storage

    def _write(
        self, trial: Trial | FrozenTrial, attributes: dict[str, Any], violations: dict[str, float]
    ) -> None:
        # Below `Trial`, whose constructor asks the sampler, and which a dead process's trial lacks.
        storage, known = self._storage, trial._trial_id
        try:
            for name, value in attributes.items():
                storage.set_trial_user_attr(known, name, value)
            for text, violation in violations.items():
                storage.set_trial_system_attr(known, f"{_CONSTRAINTS_KEY}:{text}", violation)
        except UpdateFinishedTrialError as error:
            raise LeaseLost(f"trial {trial.number} was closed by another process") from error

    def _end_with_claim(
        self,
        trial: Trial | FrozenTrial,
        candidate: str,
        state: TrialState,
        end_claim: Callable[[str, sa.Connection], bool],
        values: list[float] | None = None,
    ) -> None:
        """End a trial and its claim, both or neither. Raises `LeaseLost`."""

        def fence(connection: sa.Connection) -> None:
            if not end_claim(candidate, connection):
                raise LeaseLost(f"trial {trial.number} was taken over by another process")

        if not self._end(trial, state, values, fence):
            raise LeaseLost(f"trial {trial.number} was closed by another process")

    def _end(
        self,
        trial: Trial | FrozenTrial,
        state: TrialState,
        values: list[float] | None = None,
        beside: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> bool:
        """End a trial, with `beside` in the same transaction; False where it had ended already."""
        ended = False

        def work(connection: sa.Connection) -> None:
            nonlocal ended
            beside(connection)
            ended = True

        with self._storage.beside(trial._trial_id, work):
            try:
                # As `Study.tell`, which reads and copies the trial once more for its caller.
                _tell_with_warning(
                    self._study, trial.number, values, state=state, skip_if_finished=True
                )
            except UpdateFinishedTrialError:
                return False
        return ended

    def _kept(self, number: int) -> Path:
        return self._folder / "runs" / f"trial-{number:05d}" / KEPT


def _identity(trial: Trial | FrozenTrial, candidate: Candidate) -> dict[str, str]:
    """What tells a trial from one of the same number in another study of this folder."""
    return {"candidate": candidate.key, "started": str(trial.datetime_start)}


def _is_old(trial: FrozenTrial) -> bool:
    started = trial.datetime_start
    return started is not None and time.time() - started.timestamp() > UNCLAIMED_S
