"""From a study to the bundle of its best candidate: measure again, choose, write."""

import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle
from autosinian.export.choose import Choice, choose
from autosinian.export.contender import Contender, baseline_contender, contender, pick
from autosinian.export.final_accuracy import ACCURACY, FinalAccuracy
from autosinian.export.findings import Findings
from autosinian.export.remeasure import Remeasured, remeasure
from autosinian.export.runs import Limits, for_duration, perform, score
from autosinian.export.validation import ROLE
from autosinian.export.write import write_bundle
from autosinian.measure.measurement import Job, Measurement
from autosinian.search.outcome import Outcome
from autosinian.search.workbench import Workbench

OnMessage = Callable[[str], None]
Measure = Callable[[Sequence[Remeasured], int], None]

FURTHER = 10
"""How many more than the best few are judged on the final samples where none of these holds."""

CONFIDENCE = 0.95
ROUNDS_FACTOR = 3
_LEAST_FREE_BYTES = 4 << 20


@dataclass(frozen=True)
class Plan:
    """How much is measured: the `top` best, `rounds` runs each of `seconds`, then one longer run of
    `final_seconds` in each scenario.

    Where the winner is not told from another by then, those that are still open run on, up to
    `most_rounds` (None: three times `rounds`).
    """

    top: int = 3
    rounds: int = 5
    seconds: float = 2.0
    final_seconds: float = 10.0
    most_rounds: int | None = None

    @property
    def last_round(self) -> int:
        """The round after which nothing more is measured."""
        return max(self.rounds, self.most_rounds or ROUNDS_FACTOR * self.rounds)

    def __post_init__(self) -> None:
        if self.top < 1 or self.rounds < 2 or not (self.seconds > 0 and self.final_seconds > 0):
            raise InputError(
                "`--top` must be at least 1, `--rounds` at least 2 (an interval needs two values) "
                f"and run lengths above 0, but got {self.top}, {self.rounds}, {self.seconds} and "
                f"{self.final_seconds}"
            )


class Exporter:
    """Exports the best of one study."""

    def __init__(self, outcome: Outcome, bench: Workbench, plan: Plan, tell: OnMessage) -> None:
        self._outcome = outcome
        self._bench = bench
        self._plan = plan
        self._tell = tell
        spec = bench.document.measurement
        self._limits = Limits(
            max(spec.time_limit_s, 10 * plan.final_seconds), spec.memory_limit_mib << 20
        )

    def export(self, folder: Path, *, force: bool = False) -> Bundle:
        """Measure and write the bundle to `folder`, whole or not at all.

        Raises `InputError` for a target that exists, a study without a feasible trial and a disk
        that is full; `AutosinianError` where nothing holds when measured again.
        """
        files.check_target(folder, force=force)
        records = pick(self._outcome, self._plan.top)
        evaluator = self._bench.evaluator
        try:
            self._tell(f"making ready the best {len(records)} and the baseline")
            baseline = baseline_contender(self._outcome, evaluator)
            contenders = [contender(record, evaluator) for record in records]
            with tempfile.TemporaryDirectory(dir=self._bench.folder, prefix=".export.") as scratch:
                found = self._measure(contenders, baseline, Path(scratch))
                self._tell(f"writing the bundle to `{folder}`")
                with files.writing(folder, force=force) as temporary:
                    write_bundle(temporary, found, self._bench, self._outcome)
        except InputError:
            raise
        except (OSError, AutosinianError) as error:
            # A worker on a full disk fails in ways that do not say so.
            full = shutil.disk_usage(self._bench.folder).free < _LEAST_FREE_BYTES
            if isinstance(error, AutosinianError) and not full:
                raise
            reason = "its disk is full" if full else str(error)
            raise InputError(
                f"`{self._bench.folder}` must take the files of the export, but {reason}; free "
                "space and run the same command again"
            ) from error
        return files.open_bundle(folder)

    def _measure(
        self, contenders: Sequence[Contender], baseline: Contender, scratch: Path
    ) -> Findings:
        plan, scenarios = self._plan, tuple(self._bench.document.scenarios)
        progress = _Progress(self._tell)
        entries = [Remeasured(contender) for contender in (baseline, *contenders)]
        numbers = itertools.count(1)

        def measure(which: Sequence[Remeasured], rounds: int) -> None:
            with progress.runs(rounds * len(which) * len(scenarios)):
                remeasure(
                    which,
                    lambda entry, scenario: self.job(entry, scenario, "PerformanceOnly"),
                    scenarios,
                    rounds=list(itertools.islice(numbers, rounds)),
                    seconds=plan.seconds,
                    workers=self._bench.workers,
                    limits=self._limits,
                    folder=scratch / "rounds",
                    on_run=progress.step,
                )

        measure(entries, plan.rounds)
        reference = entries[0]
        if reference.failure:
            raise AutosinianError(
                f"the baseline must run when measured again, but {reference.failure}"
            )
        choice = self._choose(entries[1:], reference)
        for _ in range(plan.rounds, plan.last_round):
            if not choice.open:
                break
            names = {choice.leader.contender.name, *choice.open}
            self._tell(f"not told apart yet: {', '.join(sorted(names))}; one more round of them")
            going = [entry for entry in entries if entry.contender.name in names]
            measure(going, 1)
            choice = self._choose(entries[1:], reference)
        self._tell(str(choice))
        try:
            score_in_scratch = functools.partial(self._score, scratch)
            final = score_in_scratch(reference.contender, "baseline-accuracy")
            assert final.accuracy is not None
            judged = FinalAccuracy(
                score_in_scratch,
                self._bench.document.rules,
                self._outcome.reference | {ACCURACY: final.accuracy},
                self._bench.evaluator,
                scratch,
            )
            choice, accuracy = self._accurate(choice, entries, judged, measure)
            return self._finish(choice, entries, accuracy, final, scratch)
        except TrialFailure as failure:
            raise AutosinianError(
                f"the chosen {choice.winner.contender.name} must hold in its final runs, but "
                f"{failure}; run the same command again"
            ) from failure

    def _choose(self, entries: Sequence[Remeasured], reference: Remeasured) -> Choice:
        known = self._outcome.reference | reference.means()
        deciding, rules = self._outcome.deciding_metric, self._bench.document.rules
        # Looked at after each further round: each look may err by its share only.
        looks = self._plan.last_round - self._plan.rounds + 1
        return choose(entries, deciding, rules, known, 1.0 - (1.0 - CONFIDENCE) / looks)

    def _accurate(
        self, first: Choice, entries: list[Remeasured], judged: FinalAccuracy, measure: Measure
    ) -> tuple[Choice, Measurement]:
        """The choice among those that are accurate enough on samples the search never saw too, and
        its accuracy there: the fastest of a search is often one that its own samples flatter.

        Where none of the best few is, the study's next best take their place, one by one; where
        none of these is either, the first choice.
        """
        choice: Choice | None = first
        while choice is not None:
            name = choice.winner.contender.name
            reason = judged.miss(choice.winner.contender)
            if not reason:
                kept = judged.keep(name)
                return replace(choice, passed_over=judged.missed), kept
            try:
                left = [e for e in entries[1:] if e.contender.name not in judged.missed]
                choice = self._choose(left, entries[0])
                self._tell(f"on the final samples {name} {reason}; {choice}")
            except AutosinianError:
                self._tell(f"on the final samples {name} {reason}; looking at the study's next")
                choice = self._next(entries, judged, measure)
        self._tell(f"none of {judged.count} holds on the final samples; search on")
        kept = judged.keep(first.winner.contender.name)
        return replace(first, passed_over=judged.missed), kept

    def _next(
        self, entries: list[Remeasured], judged: FinalAccuracy, measure: Measure
    ) -> Choice | None:
        """The best of the study's further candidates that is accurate enough and holds when
        measured beside the baseline as often as those before; it joins `entries`."""
        evaluator, reference = self._bench.evaluator, entries[0]
        known = {entry.contender.trial for entry in entries}
        for record in self._outcome.ranked():
            if judged.count >= self._plan.top + FURTHER:
                break
            assert record.candidate is not None
            if record.number in known or judged.alike(record.candidate):
                continue
            try:
                entry = Remeasured(contender(record, evaluator))
                reason = judged.miss(entry.contender)
            except TrialFailure as failure:
                self._tell(f"trial {record.number} is out: {failure}")
                continue
            if reason:
                self._tell(f"on the final samples {entry.contender.name} {reason}")
                continue
            entries.append(entry)
            measure([reference, entry], self._plan.rounds)
            try:
                return self._choose([entry], reference)
            except AutosinianError as error:
                self._tell(str(error))
        return None

    def _score(self, scratch: Path, entry: Contender, folder: str) -> Measurement:
        """Accuracy on samples the search never saw; logs go to `scratch/<folder>`."""
        self._tell(f"final accuracy of {entry.name}")
        job = self.job(entry, "Offline", "AccuracyOnly")
        job = for_duration(job, self._plan.seconds, scratch / folder)
        return score(job, self._bench.workers, self._limits)

    def _finish(
        self,
        choice: Choice,
        entries: Sequence[Remeasured],
        accuracy: Measurement,
        baseline: Measurement,
        scratch: Path,
    ) -> Findings:
        """The winner's longer runs."""
        winner = choice.winner
        plan, scenarios = self._plan, tuple(self._bench.document.scenarios)
        final: dict[str, Measurement] = {}
        for scenario in scenarios:
            self._tell(f"final {scenario} run, {plan.final_seconds:g} s")
            job = self.job(winner.contender, scenario, "PerformanceOnly")
            final[scenario] = perform(
                for_duration(job, plan.final_seconds, scratch / "performance" / scenario),
                self._bench.workers,
                self._limits,
                expected_rate=winner.means()[f"{scenario}.samples_per_second"],
            )
        return Findings(
            winner=winner,
            choice=choice,
            entries=tuple(entries),
            accuracy=accuracy,
            baseline_accuracy=baseline,
            final=final,
            jobs={
                str(s): for_duration(
                    self.job(winner.contender, s, "PerformanceOnly"), plan.seconds, scratch
                )
                for s in scenarios
            },
            limits=self._limits,
            rounds=plan.rounds,
            seconds=plan.seconds,
            final_seconds=plan.final_seconds,
            confidence=CONFIDENCE,
            logs=scratch,
        )

    def job(self, entry: Contender, scenario: str, mode: str) -> Job:
        """A contender's job on the validation samples: speed does not depend on which they are."""
        evaluator = self._bench.evaluator
        return evaluator.job(
            entry.candidate, entry.engine_file, ROLE, scenario, mode, f"export-{entry.name}"
        )


class _Progress:
    """Tells each run with the time left."""

    def __init__(self, tell: OnMessage) -> None:
        self._tell = tell
        self._total = self._done = 0
        self._start = self._ran_s = 0.0

    @contextmanager
    def runs(self, count: int) -> Iterator[None]:
        """`count` further runs; what is done before and after them is not counted."""
        self._total += count
        self._start = time.monotonic() - self._ran_s
        yield
        self._ran_s = time.monotonic() - self._start

    def step(self, what: str) -> None:
        """Before each run."""
        left = ""
        if self._done:
            each = (time.monotonic() - self._start) / self._done
            left = f", {each * (self._total - self._done):.0f} s left"
        self._done += 1
        self._tell(f"{what} (run {self._done} of {self._total}{left})")
