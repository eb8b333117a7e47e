"""The search itself: ask for a candidate, measure it, tell what was found; until told to stop."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from autosinian.errors import AutosinianError, InputError, TrialFailure, Unavailable
from autosinian.evaluate.evaluation import Decide, Evaluation
from autosinian.report.live import LiveView
from autosinian.report.remaining import remaining_seconds
from autosinian.search.dashboard import StudyPage, annotate_trial, artifact_store, attach_files
from autosinian.search.earlier import Earlier, candidates_to_try
from autosinian.search.judge import Judge
from autosinian.search.ledger import LeaseLost, Ledger
from autosinian.search.nearest import hopeless_words, is_hopeless
from autosinian.search.noise import repeat, repetition_due, repetitions
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.parameters import distributions
from autosinian.search.promise import Promise
from autosinian.search.quarantine import Quarantine
from autosinian.search.rejudge import rejudge
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import (
    BASELINE_ATTRIBUTE,
    SEED_ATTRIBUTE,
    VERSIONS_ATTRIBUTE,
    load_study,
    open_storage,
    open_study,
)
from autosinian.search.strategy.joint import SpaceExhausted
from autosinian.search.workbench import Workbench
from autosinian.space.candidate import Candidate
from autosinian.store.patience import Patience
from autosinian.store.store import HEARTBEAT_S

BASELINE_POLL_S = 1.0
LEAST_FREE_BYTES = 1 << 20


EARLIER_TO_TRY = 12
"""Candidates of earlier studies that are measured before anything is proposed."""


@dataclass(frozen=True)
class Limits:
    """When to stop: finished trials in the study, seconds of this run (None: no limit), finished
    trials without a feasible one."""

    trials: int
    time_s: float | None = None
    give_up_after: int | None = None


@dataclass(frozen=True)
class Beginning:
    """What a search begins from: seed, sampler, what other studies found, and whether stored
    figures are to be judged by changed constraints."""

    seed: int = 0
    sampler: str = "tpe"
    earlier: tuple[Earlier, ...] = ()
    new_constraints: bool = False


class Search:
    """One process's share of a study; several may run at once on one storage."""

    def __init__(
        self,
        workbench: Workbench,
        name: str,
        url: str,
        view: LiveView,
        beginning: Beginning,
        patience: Patience,
    ) -> None:
        self._bench = workbench
        self._space = workbench.space
        self._store = workbench.store
        self._view = view
        self._patience = patience
        self.interrupted = False
        self.hopeless = False
        self._distributions = distributions(self._space)
        self._baseline = self._space.baseline()
        metrics = workbench.document.metrics
        first = [self._baseline] if self._baseline_in_space() else []
        first += candidates_to_try(beginning.earlier, self._space, metrics, most=EARLIER_TO_TRY)
        # The joint sampler's own design goes on from the extremes; Optuna's samplers have none.
        few = beginning.sampler == "joint"
        first += self._space.warm_start(uniform=0) if few else self._space.warm_start()
        self._sampler = DistinctSampler(
            self._space,
            self._store,
            list(dict.fromkeys(first)),
            seed=beginning.seed,
            kind=beginning.sampler,
            earlier=beginning.earlier,
            rebuilt=[t.name for t in workbench.engine.tunables() if t.rebuild],
        )
        storage = open_storage(url, database=self._store.database)
        fingerprint = self._space.fingerprint()
        if beginning.new_constraints:
            found = rejudge(
                load_study(name, url, patience),
                self._store,
                workbench.document,
                fingerprint,
            )
            view.message(str(found))
        self._study = open_study(
            name,
            storage,
            self._sampler,
            workbench.document,
            fingerprint,
        )
        self._artifacts = artifact_store(workbench.folder)
        self._page = StudyPage(self._study)
        self._ledger = Ledger(self._study, self._store, self._space, workbench.folder)
        rebuilt = [t.name for t in workbench.engine.tunables() if t.rebuild]
        self._quarantine = Quarantine(self._store, rebuilt, [self._baseline.key])
        self._check_gpus()
        self._study.set_user_attr(SEED_ATTRIBUTE, beginning.seed)
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
            self._ledger.sweep()
            self._view.update(self.outcome())
            self._measure_baseline()
            outcome = self.outcome()
            self._view.update(outcome, self._remaining(outcome, limits, start))
            while self._goes_on(outcome, limits, start):
                self._ledger.sweep()
                try:
                    self._one_trial()
                except SpaceExhausted as end:
                    self._view.message(str(end))
                    break
                outcome = self.outcome()
                self._view.update(outcome, self._remaining(outcome, limits, start))
                self._page.update(outcome)
                self._repeat_baseline(outcome)
        except KeyboardInterrupt:
            self.interrupted = True
            self._patience.end()
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
        trial, candidate = self._propose()
        try:
            self._ledger.begin(trial, candidate)
            reference = self._ledger.reference
            if not reference and candidate != self._baseline:
                reason = "another process took the baseline at that moment"
                self._ledger.give_back(trial, candidate, reason)
                return
            self._quarantine.refresh()
            hopeless = self._quarantine.refuses(candidate)
            if hopeless:
                self._ledger.tell_infeasible(trial, candidate, hopeless)
            else:
                with self._heart(candidate.key):
                    self._measure(trial, candidate, Judge(self._bench.document, reference))
        except TrialFailure as failure:
            self._tell_failure(trial, candidate, failure)
        except (LeaseLost, UpdateFinishedTrialError):
            self._view.message(
                f"trial {trial.number}: this process was silent for too long and another one took "
                "the trial over; its result is left to that one"
            )
            self._store.forget(candidate.key)
            return
        except BaseException as error:
            # Ctrl-C, a disk that stays full: the next run measures it.
            if isinstance(error, KeyboardInterrupt):
                self._patience.end()
            self._ledger.give_back(trial, candidate, "interrupted")
            raise
        record = self.outcome().records[trial.number]
        self._when_there_is_room(
            lambda: annotate_trial(
                self._study, trial, record, reference, self._bench.folder, self._artifacts
            )
        )

    def _measure(self, trial: optuna.Trial, candidate: Candidate, judge: Judge) -> None:
        evaluation = self._patience.retry(
            lambda: self._evaluate(candidate, trial.number, judge, trial), _room_reason
        )
        self._when_there_is_room(lambda: self._ledger.keep(trial, candidate, evaluation))
        self._when_there_is_room(
            lambda: attach_files(self._study, trial, candidate, self._bench.folder, self._artifacts)
        )
        self._ledger.tell(trial, candidate, evaluation)

    def _propose(self) -> tuple[optuna.Trial, Candidate]:
        try:
            trial = self._ask()
            return trial, self._space.decode(trial.params)
        except SpaceExhausted:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._patience.end()
            with suppress(InputError):  # a lost database, which is told already
                self._ledger.give_back_proposals("interrupted")
            raise

    def _ask(self) -> optuna.Trial:
        try:
            trial = self._study.ask(self._distributions)
            # Where each dimension has one value Optuna asks no sampler, so nobody has claimed it.
            only = all(dimension.single() for dimension in self._distributions.values())
            key = self._space.decode(trial.params).key
            if only and not self._store.claim(key, trial.number):
                raise SpaceExhausted(trial.number)
            return trial
        except SpaceExhausted as end:
            # Optuna made the trial before it could be refused; nothing will run it.
            self._study.tell(end.trial, state=TrialState.FAIL)
            raise

    def _evaluate(
        self, candidate: Candidate, number: int, judge: Judge, trial: optuna.Trial | None = None
    ) -> Evaluation:
        self._check_room("")
        try:
            return self._bench.evaluator.evaluate(
                candidate,
                f"trial-{number:05d}",
                refuse=(lambda metrics: False) if candidate == self._baseline else judge.refuse,
                on_stage=lambda stage: self._view.stage(number, stage),
                decide=self._decide(candidate, judge, trial),
            )
        except TrialFailure as failure:
            # A worker on a full disk fails in ways that do not say so.
            self._check_room(f" ({failure})")
            raise

    def _decide(self, candidate: Candidate, judge: Judge, trial: optuna.Trial | None) -> Decide:
        if trial is None or candidate == self._baseline:
            return lambda known: ""
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        return Promise(self._study, frozen, self._sampler, judge, self._bench.document).decide

    def _check_room(self, why: str) -> None:
        if shutil.disk_usage(self._bench.folder).free < LEAST_FREE_BYTES:
            raise Unavailable(
                f"the disk must have room for a trial's files, but that of "
                f"`{self._bench.folder}` is full{why}; free space and run the same command again"
            )

    def _when_there_is_room(self, action: Callable[[], None]) -> None:
        self._patience.retry(action, _room_reason)

    def _tell_failure(
        self, trial: optuna.Trial, candidate: Candidate, failure: TrialFailure
    ) -> None:
        self._view.message(f"trial {trial.number}: {failure}")
        if candidate == self._baseline:
            # Given back, so that the same command under other limits or on a mended machine
            # measures it; without it nothing else can be judged.
            self._ledger.give_back(trial, candidate, str(failure))
            raise AutosinianError(f"the baseline must be measurable, but {failure}") from failure
        with suppress(LeaseLost):  # whoever took it over tells what came of it
            if failure.transient and self._ledger.try_again(trial, candidate, str(failure)):
                return
            self._quarantine.add(candidate, failure, trial.number)
            self._ledger.tell_infeasible(trial, candidate, str(failure))

    def _repeat_baseline(self, outcome: Outcome) -> None:
        """Measure the baseline once more where the noise is to be known better."""
        finished = sum(record.state in ("measured", "infeasible") for record in outcome.records)
        if not repetition_due(len(repetitions(self._study.user_attrs)), finished):
            return
        last = outcome.records[-1].number
        self._view.stage(None, "again, for the noise")
        try:
            repeat(self._study, self._bench.evaluator, self._baseline, last, finished)
        except (TrialFailure, Unavailable) as failure:
            self._view.message(f"the baseline could not be measured again: {failure}")

    def _measure_baseline(self) -> None:
        """Measure the baseline here, or wait for the process that does."""
        key, told = self._baseline.key, False
        while BASELINE_ATTRIBUTE not in self._study.user_attrs:
            self._ledger.sweep()
            claim = self._store.find(key)
            if claim is not None and claim.state == "running":
                if not told:
                    self._view.message("another process measures the baseline; waiting for it")
                told = True
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
                evaluation = self._patience.retry(
                    lambda: self._evaluate(self._baseline, -1, judge), _room_reason
                )
            self._ledger.keep_baseline(evaluation)
            self._store.finish(self._baseline.key)
        except TrialFailure as failure:
            self._store.forget(self._baseline.key)
            raise AutosinianError(f"the baseline must be measurable, but {failure}") from failure
        except BaseException:
            self._store.forget(self._baseline.key)
            raise

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

    def _goes_on(self, outcome: Outcome, limits: Limits, start: float) -> bool:
        if limits.give_up_after is not None and is_hopeless(outcome, limits.give_up_after):
            self.hopeless = True
            for line in hopeless_words(outcome, limits.give_up_after):
                self._view.message(line)
            return False
        finished = sum(record.state in ("measured", "infeasible") for record in outcome.records)
        in_time = limits.time_s is None or time.monotonic() - start < limits.time_s
        return finished < limits.trials and in_time

    def _remaining(self, outcome: Outcome, limits: Limits, start: float) -> float | None:
        finished = sum(record.state in ("measured", "infeasible") for record in outcome.records)
        time_left = None
        if limits.time_s is not None:
            time_left = limits.time_s - (time.monotonic() - start)
        return remaining_seconds(outcome, limits.trials - finished, time_left)


def _room_reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Unavailable) else ""
