"""The search itself: ask for a candidate, measure it, tell what was found; until told to stop."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.evaluate.evaluation import Evaluation
from autosinian.report.live import LiveView
from autosinian.report.remaining import remaining_seconds
from autosinian.search.dashboard import StudyPage, annotate_trial, artifact_store, attach_files
from autosinian.search.judge import Judge
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON, Outcome, read_outcome
from autosinian.search.parameters import distributions
from autosinian.search.sampler import DistinctSampler, is_finished
from autosinian.search.storage import (
    BASELINE_ATTRIBUTE,
    SEED_ATTRIBUTE,
    VERSIONS_ATTRIBUTE,
    open_storage,
    open_study,
)
from autosinian.search.strategy.joint import SpaceExhausted
from autosinian.search.workbench import Workbench
from autosinian.space.candidate import Candidate
from autosinian.store.store import HEARTBEAT_S, MAX_ATTEMPTS, Claim

BASELINE_POLL_S = 1.0
LEAST_FREE_BYTES = 1 << 20


@dataclass(frozen=True)
class Limits:
    """When to stop: finished trials in the study, seconds of this run (None: no limit)."""

    trials: int
    time_s: float | None = None


class Search:
    """One process's share of a study; several may run at once on one storage."""

    def __init__(
        self, workbench: Workbench, name: str, url: str, view: LiveView, *, seed: int, sampler: str
    ) -> None:
        self._bench = workbench
        self._space = workbench.space
        self._store = workbench.store
        self._view = view
        self.interrupted = False
        self._distributions = distributions(self._space)
        self._baseline = self._space.baseline()
        in_space = self._space.decode(self._space.encode(self._baseline)) == self._baseline
        first = self._space.warm_start()
        storage = open_storage(url)
        self._study = open_study(
            name,
            storage,
            DistinctSampler(
                self._space,
                self._store,
                [self._baseline, *first] if in_space else first,
                seed=seed,
                kind=sampler,
            ),
            workbench.document,
            self._space.fingerprint(),
        )
        self._artifacts = artifact_store(workbench.folder)
        self._page = StudyPage(self._study)
        self._check_gpus()
        self._study.set_user_attr(SEED_ATTRIBUTE, seed)
        self._study.set_user_attr(VERSIONS_ATTRIBUTE, workbench.versions())

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        return self._study

    def run(self, limits: Limits) -> Outcome:
        """Measure until a limit is reached, the space is exhausted or Ctrl-C; never loses a trial.

        Raises `InputError` where going on makes no sense (a full disk, a lost database).
        """
        start = time.monotonic()
        try:
            self._sweep()
            self._view.update(self.outcome())
            self._measure_baseline()
            outcome = self.outcome()
            self._view.update(outcome, self._remaining(outcome, limits, start))
            while self._goes_on(limits, start):
                self._sweep()
                try:
                    self._one_trial()
                except SpaceExhausted as end:
                    self._view.message(str(end))
                    break
                outcome = self.outcome()
                self._view.update(outcome, self._remaining(outcome, limits, start))
                self._page.update(outcome)
        except KeyboardInterrupt:
            self.interrupted = True
            self._view.message("interrupted: the running trial is given back; nothing else is lost")
        finally:
            self._bench.workers.close()
        outcome = self.outcome()
        self._page.update(outcome, now=True)
        return outcome

    def outcome(self) -> Outcome:
        """What the study has found so far."""
        return read_outcome(self._study)

    def _check_gpus(self) -> None:
        """Figures of other GPUs, or of more of them, are not to be compared in one study."""
        before = self._study.user_attrs.get(VERSIONS_ATTRIBUTE, {}).get("device")
        now = self._bench.device
        if self._bench.workers.devices and before is not None and before != now:
            raise InputError(
                f"study `{self._study.study_name}` must go on with the GPUs it began with, "
                f"{before}, but has {now}; choose them with `--devices`, or another name with "
                "`--study`"
            )

    def _one_trial(self) -> None:
        trial = self._ask()
        candidate = self._space.decode(trial.params)
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        reference = self._study.user_attrs.get(BASELINE_ATTRIBUTE)
        metrics = reference["evaluation"]["metrics"] if reference else {}
        if reference is None and candidate != self._baseline:
            self._give_back(trial, candidate, "another process took the baseline at that moment")
            return
        judge = Judge(self._bench.document, metrics)
        try:
            with self._heart(candidate.key):
                evaluation = self._evaluate(candidate, trial.number, judge)
            attach_files(self._study, trial, candidate, self._bench.folder, self._artifacts)
            self._tell(trial, candidate, evaluation, judge)
        except TrialFailure as failure:
            self._tell_failure(trial, candidate, failure, judge)
        except BaseException:
            # Ctrl-C, a full disk: the next run measures it.
            self._give_back(trial, candidate, "interrupted")
            raise
        record = self.outcome().records[trial.number]
        annotate_trial(self._study, trial, record, metrics, self._bench.folder, self._artifacts)

    def _give_back(self, trial: optuna.Trial, candidate: Candidate, reason: str) -> None:
        # The study is told first: killed in between, the claim is stale and the next run frees it.
        trial.set_user_attr(REASON, reason)
        self._study.tell(trial, state=TrialState.FAIL)
        self._store.forget(candidate.key)

    def _ask(self) -> optuna.Trial:
        try:
            return self._study.ask(self._distributions)
        except SpaceExhausted as end:
            # Optuna made the trial before the sampler could refuse; nothing will run it.
            self._study.tell(end.trial, state=TrialState.FAIL)
            raise

    def _evaluate(self, candidate: Candidate, number: int, judge: Judge) -> Evaluation:
        try:
            return self._bench.evaluator.evaluate(
                candidate,
                f"trial-{number:05d}",
                refuse=(lambda metrics: False) if candidate == self._baseline else judge.refuse,
                on_stage=lambda stage: self._view.stage(number, stage),
            )
        except TrialFailure as failure:
            # A worker on a full disk fails in ways that do not say so.
            if shutil.disk_usage(self._bench.folder).free < LEAST_FREE_BYTES:
                raise InputError(
                    f"the disk must have room for a trial's files, but that of "
                    f"`{self._bench.folder}` is full ({failure}); free space and run the same "
                    "command again"
                ) from failure
            raise

    def _tell(
        self, trial: optuna.Trial, candidate: Candidate, evaluation: Evaluation, judge: Judge
    ) -> None:
        if candidate == self._baseline:
            self._keep_baseline(evaluation)
            judge = Judge(self._bench.document, evaluation.metrics)
        values = judge.values(evaluation)
        trial.set_user_attr(EVALUATION, evaluation.to_dict())
        trial.set_user_attr(REASON, judge.reason(evaluation))
        for text, violation in judge.violations(evaluation).items():
            trial.set_constraint(text, violation)
        if values is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, values)
        self._store.finish(candidate.key)

    def _tell_failure(
        self, trial: optuna.Trial, candidate: Candidate, failure: TrialFailure, judge: Judge
    ) -> None:
        self._view.message(f"trial {trial.number}: {failure}")
        if candidate == self._baseline:
            # Given back, so that the same command under other limits or on a mended machine
            # measures it; without it nothing else can be judged.
            self._give_back(trial, candidate, str(failure))
            raise AutosinianError(f"the baseline must be measurable, but {failure}") from failure
        trial.set_user_attr(REASON, str(failure))
        if failure.transient and self._attempts(candidate.key) < MAX_ATTEMPTS:
            self._study.tell(trial, state=TrialState.FAIL)
            self._store.release(candidate.key)
            return
        for text, violation in judge.failure().items():
            trial.set_constraint(text, violation)
        self._study.tell(trial, state=TrialState.PRUNED)
        self._store.finish(candidate.key)

    def _measure_baseline(self) -> None:
        """Measure the baseline here, or wait for the process that does."""
        key = self._baseline.key
        while BASELINE_ATTRIBUTE not in self._study.user_attrs:
            self._sweep()
            states = {c.candidate: c.state for c in self._store.claims()}
            if states.get(key) == "running":
                self._view.message("another process measures the baseline; waiting for it")
                time.sleep(BASELINE_POLL_S)
            elif self._baseline_in_space():
                self._one_trial()
            elif self._store.claim(key, -1):
                self._measure_baseline_outside()

    def _baseline_in_space(self) -> bool:
        return self._space.decode(self._space.encode(self._baseline)) == self._baseline

    def _measure_baseline_outside(self) -> None:
        judge = Judge(self._bench.document.model_copy(update={"constraints": []}), {})
        try:
            with self._heart(self._baseline.key):
                evaluation = self._evaluate(self._baseline, -1, judge)
            self._keep_baseline(evaluation)
            self._store.finish(self._baseline.key)
        except TrialFailure as failure:
            self._store.forget(self._baseline.key)
            raise AutosinianError(f"the baseline must be measurable, but {failure}") from failure
        except BaseException:
            self._store.forget(self._baseline.key)
            raise

    def _keep_baseline(self, evaluation: Evaluation) -> None:
        Judge(self._bench.document, evaluation.metrics)  # an accuracy bar above 1 ends it here
        value = {"candidate": self._baseline.to_dict(), "evaluation": evaluation.to_dict()}
        self._study.set_user_attr(BASELINE_ATTRIBUTE, value)

    def _sweep(self) -> None:
        """Free what dead processes held; what died twice is recorded infeasible."""
        trials = {t.number: t for t in self._study.get_trials(deepcopy=False)}
        for claim in self._store.stale():
            if not self._store.take_over(claim):
                continue
            trial = trials.get(claim.trial)
            if trial is None:
                continue
            if is_finished(trial):
                # Killed between telling the study and closing the claim.
                self._store.finish(claim.candidate)
            elif trial.state == TrialState.RUNNING:
                self._close_lost(trial, claim)
        held = {claim.trial for claim in self._store.claims() if claim.state == "running"}
        for trial in trials.values():
            if trial.state == TrialState.RUNNING and trial.number not in held and _is_old(trial):
                # Killed before it had a claim, or between giving up the claim and saying so.
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _close_lost(self, trial: optuna.trial.FrozenTrial, claim: Claim) -> None:
        """A dead process's trial is tried once more, then recorded infeasible."""
        self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        if claim.attempts < MAX_ATTEMPTS or not trial.params:
            return
        if claim.candidate == self._baseline.key:
            return  # always tried again: without it nothing can be judged
        lost = optuna.trial.create_trial(
            state=TrialState.PRUNED,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={
                CANDIDATE: self._space.decode(trial.params).to_dict(),
                REASON: f"the process that ran it died {claim.attempts} times",
            },
            constraints=Judge(self._bench.document, {}).failure(),
        )
        self._study.add_trial(lost)
        self._store.finish(claim.candidate)

    def _attempts(self, key: str) -> int:
        return next(c.attempts for c in self._store.claims() if c.candidate == key)

    @contextmanager
    def _heart(self, key: str) -> Iterator[None]:
        """Beat for a claim from a thread while the block runs."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_S):
                # A database that cannot be written is told by the trial's own thread.
                with suppress(InputError):
                    self._store.beat(key)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _goes_on(self, limits: Limits, start: float) -> bool:
        finished = sum(is_finished(t) for t in self._study.get_trials(deepcopy=False))
        in_time = limits.time_s is None or time.monotonic() - start < limits.time_s
        return finished < limits.trials and in_time

    def _remaining(self, outcome: Outcome, limits: Limits, start: float) -> float | None:
        finished = sum(record.state in ("measured", "infeasible") for record in outcome.records)
        time_left = None
        if limits.time_s is not None:
            time_left = limits.time_s - (time.monotonic() - start)
        return remaining_seconds(outcome, limits.trials - finished, time_left)


def _is_old(trial: optuna.trial.FrozenTrial) -> bool:
    started = trial.datetime_start
    return started is not None and time.time() - started.timestamp() > 10 * HEARTBEAT_S
