"""A submission's tree from bundles: runs found or made, everything else written from them.

The tree is checked before it gets its name, so that one which breaks a rule is never written.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autosinian.content import atomic_folder, write_json
from autosinian.engine.gpu import select_gpus
from autosinian.engine.processor import usable_cores
from autosinian.errors import AutosinianError, InputError
from autosinian.export.system_config import system_id
from autosinian.mlperf import rules, submission_texts
from autosinian.mlperf.audit import (
    AUDIT_CONFIG,
    judge,
    reference_accuracy,
    reference_performance,
    run_audits,
)
from autosinian.mlperf.audit_runs import Served, Tell
from autosinian.mlperf.checker import MARK, Report, check
from autosinian.mlperf.submission_accuracy import accuracy_text, write_accuracy
from autosinian.mlperf.submission_logs import ACCURACY, DETAIL, SUMMARY, read_run
from autosinian.mlperf.submission_plan import Plan, Result, foresee, model_problems, refusal
from autosinian.mlperf.submission_source import copy_bundle, copy_program
from autosinian.mlperf.submission_system import describe_system, installed
from autosinian.mlperf.submission_take import take_runs

_SOFTWARE = ("mlcommons-loadgen", "numpy", "onnx", "onnxruntime", "torch")
_FULL_LOGS = "full-accuracy-logs"


class Submission:
    """Collects results, then writes the tree."""

    def __init__(self, plan: Plan, work: Path, tell: Tell) -> None:
        self._plan, self._work, self._tell = plan, work, tell
        self._results: list[Result] = []

    def add(self, served: Served, scenarios: Sequence[str]) -> None:
        """Submit a bundle in `scenarios`; nothing runs yet.

        Raises `InputError` for a scenario that another bundle gave, `AutosinianError` for a bundle
        of another machine.
        """
        result = served.source.bundle.result if served.source.bundle else {}
        device = served.engine.device()
        if device != result["device"] and not self._plan.test_run:
            raise AutosinianError(
                f"a submission must be written where it is measured: `{served.source.folder}` was "
                f"exported on {result['device']}, but this is {device}; export it here"
            )
        units = len(served.workers.devices) or usable_cores()
        system = self._plan.system or system_id(device, units)
        benchmark = served.source.benchmark
        for scenario in scenarios:
            if any(
                (r.system, r.benchmark, r.scenario) == (system, benchmark, scenario)
                for r in self._results
            ):
                raise InputError(
                    f"a system has one result of {benchmark} {scenario}, but two bundles give one; "
                    "choose with `--scenario`"
                )
            runs = self._work / system / benchmark / scenario
            self._results.append(Result(served, system, benchmark, scenario, runs))

    def collect(self) -> None:
        """Take or make every run; they lie in the work folder then.

        Raises `AutosinianError` before anything runs where the tree would break a rule whatever
        comes out, and for runs that fail; `InputError` for logs of another engine file.
        """
        plan = self._plan
        if plan.measure and not plan.test_run:
            foreseen = foresee(plan, self._results)
            if foreseen:
                raise AutosinianError(refusal(plan.round.name, foreseen))
        for entry in self._results:
            self._collect(entry.served, entry.scenario, entry.runs)

    def _collect(self, served: Served, scenario: str, runs: Path) -> None:
        plan, tests = self._plan, rules.AUDITS
        if plan.logs is not None:
            take_runs(plan.logs, scenario, runs, served, self._tell)
        if plan.measure:
            served.identify(runs)
            reference_performance(served, scenario, runs, self._tell)
            reference_accuracy(served, scenario, runs, self._tell)
        wanted = plan.division == "closed" or plan.audits
        missing = [test for test in tests if not (runs / test).is_dir()]
        if wanted and plan.measure and missing:
            run_audits(served, scenario, missing, runs, self._tell)
        performance = read_run(runs / "performance" / "run_1")
        accuracy = read_run(runs / "accuracy")
        if performance is None or accuracy is None:
            absent = "a performance run" if performance is None else "an accuracy run"
            raise InputError(
                f"`--logs` must hold {absent} of {scenario}, but `{plan.logs}` does not; make it "
                f"with `autosinian run --scenario {scenario}`, or leave `--no-runs` out"
            )
        for test in tests:
            if (runs / test).is_dir():
                audit, _ = judge(test, runs / test, performance, accuracy, served.labels())
                if not audit.passed:
                    self._tell(f"{scenario} {test}: {'; '.join(audit.reasons)}")

    def write(self, out: Path, seconds: float | None = None) -> Report:
        """Write the tree to `out`, with the whole accuracy logs beside it.

        Raises `AutosinianError` naming each rule that it breaks, and writes nothing then, unless
        it is a test run.
        """
        plan = self._plan
        whole = out.with_name(f"{out.name}-{_FULL_LOGS}")
        for path in (out, whole):
            if path.exists():
                raise InputError(f"`{path}` must not exist yet; choose another with `--out`")
        with atomic_folder(out) as root, atomic_folder(whole) as kept:
            top = root / plan.division / plan.submitter
            for entry in self._results:
                self._write_scenario(entry, top, kept, seconds)
            self._write_rest(top)
            report = check(root, plan.round, dataset_size=plan.dataset_size)
            problems = (*report.problems, *model_problems(plan, self._results))
            report = replace(report, problems=problems)
            if plan.test_run:
                lines = [f"`{p.rule}`: {p.where} {p.detail}" for p in report.problems]
                (root / MARK).write_text(submission_texts.test_run_mark(lines), encoding="utf-8")
            elif report.problems:
                raise AutosinianError(refusal(report.round, report.problems))
        return report

    def _write_scenario(self, entry: Result, top: Path, kept: Path, seconds: float | None) -> None:
        folder = top / "results" / entry.system / entry.benchmark / entry.scenario
        runs = entry.runs
        performance = read_run(runs / "performance" / "run_1")
        assert performance is not None
        for part in ("performance/run_1", "accuracy"):
            (folder / part).mkdir(parents=True)
            for name in (SUMMARY, DETAIL):
                shutil.copyfile(runs / part / name, folder / part / name)
        text = accuracy_text(runs / "accuracy", entry.served.labels())
        write_accuracy(runs / "accuracy" / ACCURACY, folder / "accuracy", text, kept / top.name)
        for test in rules.AUDITS:
            if not (runs / test).is_dir():
                continue
            left_out = shutil.ignore_patterns(AUDIT_CONFIG, ACCURACY)
            shutil.copytree(runs / test, folder / test, ignore=left_out)
            sampled = runs / test / "accuracy" / ACCURACY
            if sampled.is_file():
                write_accuracy(sampled, folder / test / "accuracy", "", kept / top.name)
        (folder / "user.conf").write_text(submission_texts.scenario_conf(performance))
        write_json(folder / "measurements.json", submission_texts.measurements(entry.result))
        readme = submission_texts.readme(
            entry.scenario,
            entry.result,
            self._plan.round,
            performance,
            bundle=entry.bundle,
            seconds=seconds,
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")

    def _write_rest(self, top: Path) -> None:
        plan, by_bundle = self._plan, {entry.bundle: entry for entry in self._results}
        for system, entry in {entry.system: entry for entry in self._results}.items():
            devices = entry.served.workers.devices
            engine = entry.result["candidate"]["engine"]["engine"]
            versions = dict(entry.served.engine.versions())
            write_json(
                top / "systems" / f"{system}.json",
                describe_system(
                    {
                        "division": plan.division,
                        "submitter": plan.submitter,
                        "status": plan.status,
                        "system_type": plan.system_type,
                        "system_name": system,
                    },
                    gpus=select_gpus(devices) if devices else (),
                    framework=f"autosinian with {engine} {versions.get(engine, '')}".strip(),
                    software=_stack(versions) | installed(_SOFTWARE),
                    replaced=plan.fields,
                ),
            )
        for benchmark in {entry.benchmark for entry in self._results}:
            folder = top / "src" / benchmark
            copy_program(folder / "autosinian")
            names = []
            for entry in by_bundle.values():
                if entry.benchmark == benchmark:
                    names.append(Path(entry.bundle).name)
                    copy_bundle(entry.served.source.folder, top / entry.bundle)
            readme = submission_texts.source_readme(benchmark, names)
            (folder / "README.md").write_text(readme, encoding="utf-8")
        documents = top / "documentation"
        documents.mkdir()
        text = submission_texts.calibration([entry.result for entry in by_bundle.values()])
        (documents / "calibration.md").write_text(text, encoding="utf-8")


def _stack(versions: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in versions.items() if not k.startswith("processor")}
