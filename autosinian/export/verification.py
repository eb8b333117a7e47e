"""A bundle measured again, from its own files and the data set it names."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autosinian.engine.protocol import Engine
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.evaluate.quiet import working
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle, differences, open_bundle
from autosinian.export.remake import compare_logits
from autosinian.export.runs import Limits, for_duration, perform, performance_metrics, score
from autosinian.export.statement import Statement
from autosinian.export.validation import validation_arrays
from autosinian.measure.measurement import BuildJob, Job
from autosinian.measure.workers import DEFAULT_CHOICE, WorkerChoice
from autosinian.report.remeasurement import Check
from autosinian.space.candidate import Candidate

OnMessage = Callable[[str], None]


@dataclass(frozen=True)
class Verification:
    """What was checked, in order; `figures` are the newly measured ones."""

    checks: tuple[Check, ...]
    figures: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether nothing contradicts the bundle."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "checks": checks, "figures": self.figures}


def verify(
    folder: Path,
    *,
    data: Path | None = None,
    rounds: int | None = None,
    rebuild: bool = False,
    choice: WorkerChoice = DEFAULT_CHOICE,
    tell: OnMessage,
) -> Verification:
    """Check every file, then accuracy and performance from the bundle alone.

    `data` replaces the recorded place of the data set, `rounds` the recorded number of rounds.
    `choice` says where workers run: left open, as many GPUs serve as in the export.
    With `rebuild` an engine file of other versions or of another processor is built again from the
    ONNX. Changed files end it there: nothing of a changed bundle is run. Raises `InputError` for
    what is no bundle or other data, `AutosinianError` for an engine that does not fit this machine.
    """
    if rounds is not None and rounds < 1:
        raise InputError(f"`--rounds` must be at least 1, but got {rounds}")
    bundle = open_bundle(folder)
    tell("checking the files")
    changed = differences(bundle)
    if changed:
        return Verification(tuple(Check("files", False, line) for line in changed), {})
    count = len(bundle.result["hashes"])
    checks = [Check("files", True, f"{count} files, every hash as exported")]
    with tempfile.TemporaryDirectory(prefix="autosinian-verify-") as scratch:
        try:
            run = _Run(bundle, Path(scratch), data, rebuild, choice, tell)
            checks += run.network()
            checks += run.accuracy()
            checks += run.performance(rounds or int(bundle.result["rounds"]["count"]))
        except TrialFailure as failure:
            checks.append(Check(failure.stage, False, failure.reason))
            return Verification(tuple(checks), {})
        except KeyError as error:
            raise InputError(f"`{folder}/{files.RESULT}` must have the key {error}") from error
        return Verification(tuple(checks), run.figures)


class _Run:
    """One verification's engine file, samples and figures."""

    def __init__(
        self,
        bundle: Bundle,
        scratch: Path,
        data: Path | None,
        rebuild: bool,
        choice: WorkerChoice,
        tell: OnMessage,
    ) -> None:
        self._result = bundle.result
        self._bundle = bundle
        self._scratch = scratch
        self._tell = tell
        self._candidate = Candidate.from_dict(bundle.result["candidate"])
        limits = bundle.result["limits"]
        self._limits = Limits(float(limits["time_s"]), int(limits["memory_bytes"]))
        self._engine, self._workers = choice.open(
            self._candidate.engine.engine, count=self._device_count()
        )
        self._engine_file = self._fitting(self._engine, rebuild)
        tell("preparing the validation samples")
        self._arrays = validation_arrays(bundle.result["data"], data, scratch / "arrays")
        self.figures: dict[str, Any] = {}

    def _fitting(self, engine: Engine, rebuild: bool) -> Path:
        """The bundle's engine file, or a new one where versions differ and that is allowed."""
        built, now = dict(self._result["engine_versions"]), dict(engine.versions())
        changed = [
            f"{name} was {built.get(name, 'absent')!r} and is {now.get(name, 'absent')!r}"
            for name in sorted(set(built) | set(now))
            if built.get(name) != now.get(name)
        ]
        if not changed:
            return self._bundle.path(files.ENGINE)
        if not rebuild:
            raise AutosinianError(
                "the engine file must be verified where it was built, but "
                f"{'; '.join(changed)}; `--rebuild` builds it again from {self._bundle.model.name}"
            )
        self._tell(f"building the engine again: {'; '.join(changed)}")
        path = self._scratch / files.ENGINE
        job = BuildJob(
            engine=self._result["candidate"]["engine"],
            model=str(self._bundle.model.resolve()),
            precision=self._candidate.quantization.precision,
            engine_file=str(path),
            log_folder=str(self._scratch / "build"),
            devices=self._workers.devices[:1],
        )
        with working(job.devices):
            self._workers.build(
                job, time_limit_s=self._limits.time_s, memory_limit_bytes=self._limits.memory_bytes
            )
        return path

    def network(self) -> list[Check]:
        """The network in the bundle gives the ONNX."""
        self._tell("making the ONNX again from the network")
        with working():
            agreed, detail = compare_logits(
                self._bundle, self._candidate, self._arrays.open_inputs(), self._scratch
            )
        return [Check("network", agreed, detail)]

    def accuracy(self) -> list[Check]:
        """Accuracy on the validation samples, which must be equal."""
        self._tell("measuring accuracy")
        job = self._job("Offline", "AccuracyOnly")
        measured = score(
            for_duration(job, 1.0, self._scratch / "accuracy"), self._workers, self._limits
        )
        stated = self._result["accuracy"]
        self.figures["accuracy"] = measured.accuracy
        detail = f"{measured.accuracy:.6f} on {measured.samples} samples, stated {stated:.6f}"
        return [Check("accuracy", measured.accuracy == stated, detail)]

    def performance(self, rounds: int) -> list[Check]:
        """Each stated figure; where one is slower, all rounds of its scenario once more."""
        statements = [Statement.from_dict(value) for value in self._result["stated"]]
        checks = []
        for scenario in self._result["scenarios"]:
            mine = [s for s in statements if s.metric.startswith(f"{scenario}.")]
            means, attempts = self._rounds(scenario, rounds, 1), ""
            if any(statement.slower(means[statement.metric]) for statement in mine):
                again = self._rounds(scenario, rounds, 2)
                means |= {s.metric: s.better(means[s.metric], again[s.metric]) for s in mine}
                attempts = " (the better of two attempts)"
            checks += [self._compare(s, means[s.metric], attempts) for s in mine]
            self.figures |= means
        return checks

    def _rounds(self, scenario: str, rounds: int, attempt: int) -> dict[str, float]:
        values: dict[str, list[float]] = {}
        job = self._job(scenario, "PerformanceOnly")
        seconds = float(self._result["rounds"]["seconds"])
        known = self._result["scenarios"][scenario]["samples_per_second"]
        for number in range(1, rounds + 1):
            again = "" if attempt == 1 else ", again because it was slower than stated"
            self._tell(f"measuring {scenario}, round {number} of {rounds}{again}")
            place = self._scratch / scenario / f"{attempt}-{number:02d}"
            measured = perform(
                for_duration(job, seconds, place), self._workers, self._limits, expected_rate=known
            )
            if measured.disturbance:
                self._tell(f"disturbed, also when repeated: {measured.disturbance}")
            for metric, value in performance_metrics(measured).items():
                values.setdefault(metric, []).append(value)
        return {metric: fmean(found) for metric, found in values.items()}

    def _compare(self, statement: Statement, mean: float, attempts: str) -> Check:
        detail = statement.describe(mean) + attempts
        stated, count = self._result["device"], self._device_count()
        if self._engine.device() != stated or len(self._workers.devices) != count:
            detail += f" (not compared: stated on {f'{count} x ' * (count > 1)}{stated})"
            return Check("performance", True, detail)
        if statement.faster(mean):
            detail += " (faster than stated, which is no contradiction)"
        return Check("performance", not statement.slower(mean), detail)

    def _job(self, scenario: str, mode: str) -> Job:
        recorded = self._result["jobs"].get(scenario) or next(iter(self._result["jobs"].values()))
        return Job(
            engine=self._result["candidate"]["engine"],
            engine_file=str(self._engine_file.resolve()),
            inputs=str(self._arrays.inputs),
            labels=str(self._arrays.labels),
            scenario=scenario,
            mode=mode,
            output_folder="",
            settings=recorded["settings"],
            log_settings=recorded["log_settings"],
            sut=recorded["sut"],
            benchmark=recorded["benchmark"],
            devices=self._workers.devices,
            task=recorded.get("task", {}),
        )

    def _device_count(self) -> int:
        """How many GPUs served the exported runs; bundles of processors name none."""
        return max(len(job.get("devices", ())) for job in self._result["jobs"].values())


def failures(checks: Sequence[Check]) -> list[str]:
    """The lines of what did not pass."""
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]
