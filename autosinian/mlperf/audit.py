"""Audits of a bundle: a run, the same run under an audit.config, and what the two must agree on."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import AutosinianError, InputError
from autosinian.mlperf.audit_config import built_in, seeds_of
from autosinian.mlperf.audit_judge import (
    AccuracyFinding,
    Finding,
    judge_accuracy,
    judge_performance,
)
from autosinian.mlperf.audit_runs import Served, Tell
from autosinian.mlperf.submission_logs import ACCURACY, RunLog, read_run

AUDIT_CONFIG = "audit.config"
VERIFY_ACCURACY = "verify_accuracy.txt"
VERIFY_PERFORMANCE = "verify_performance.txt"
_ATTEMPTS = 2


@dataclass(frozen=True)
class Audit:
    """The outcome of one test in one scenario; `reasons` say why it is not passed."""

    test: str
    scenario: str
    passed: bool
    reasons: tuple[str, ...]
    reference_score: float | None
    audited_score: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; scores are samples/s, or a latency in ns."""
        return {
            "test": self.test,
            "scenario": self.scenario,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "reference_score": self.reference_score,
            "audited_score": self.audited_score,
        }


def run_audits(
    served: Served,
    scenario: str,
    tests: Sequence[str],
    folder: Path,
    tell: Tell,
    configs: dict[str, str] | None = None,
) -> list[Audit]:
    """Run `tests` in one scenario and judge them; everything goes to `folder`.

    `folder` is laid out as `results/<system>/<benchmark>/<scenario>` of a submission. Runs that lie
    there already (`performance/run_1`, `accuracy`) are the reference, others are made. `configs`
    are texts of audit.config that replace the built-in ones. Raises `AutosinianError` where a run
    cannot be made.
    """
    served.identify(folder)
    reference = reference_performance(served, scenario, folder, tell)
    accuracy = None
    if "TEST01" in tests:
        accuracy = reference_accuracy(served, scenario, folder, tell)
    found = []
    for test in tests:
        text = (configs or {}).get(test) or built_in(test)
        for attempt in range(_ATTEMPTS):
            audit, slow = _audit(served, test, text, reference, accuracy, folder, tell)
            # What else runs on a machine moves speed, never answers.
            if not slow or attempt + 1 == _ATTEMPTS:
                break
            tell(f"{scenario}: {test} again: {'; '.join(audit.reasons)}")
        found.append(audit)
    return found


def reference_performance(served: Served, scenario: str, folder: Path, tell: Tell) -> RunLog:
    """The performance run below `folder`, made where there is none."""
    place = folder / "performance" / "run_1"
    run = read_run(place)
    if run is None:
        tell(f"{scenario}: performance run")
        run = served.performance(scenario, place, tell)
        (place / ACCURACY).unlink(missing_ok=True)
    return run


def reference_accuracy(served: Served, scenario: str, folder: Path, tell: Tell) -> RunLog:
    """The accuracy run below `folder`, made where there is none."""
    run = read_run(folder / "accuracy")
    if run is None:
        tell(f"{scenario}: accuracy run")
        run = served.accuracy(scenario, folder / "accuracy")
    return run


def _audit(
    served: Served,
    test: str,
    text: str,
    reference: RunLog,
    accuracy: RunLog | None,
    folder: Path,
    tell: Tell,
) -> tuple[Audit, bool]:
    """One audit, and whether its speed alone speaks against it."""
    place = folder / test
    shutil.rmtree(place, ignore_errors=True)
    logs = place / "performance" / "run_1"
    logs.mkdir(parents=True)
    config = place / AUDIT_CONFIG
    config.write_text(text, encoding="utf-8")
    tell(f"{reference.scenario}: {test}")
    seeds = seeds_of(text) if test == "TEST05" else None
    run = served.performance(
        reference.scenario,
        logs,
        tell,
        audit=str(config.resolve()),
        seeds=seeds,
        like=reference,
    )
    _require_in_force(test, text, run, reference)
    if test == "TEST01":
        (place / "accuracy").mkdir()
        shutil.move(logs / ACCURACY, place / "accuracy" / ACCURACY)
    (logs / ACCURACY).unlink(missing_ok=True)
    audit, answered = judge(test, place, reference, accuracy, served.labels())
    return audit, answered and not audit.passed


def judge(
    test: str,
    place: Path,
    reference: RunLog,
    accuracy: RunLog | None,
    truth: NDArray[np.int64],
) -> tuple[Audit, bool]:
    """Judge the audit whose logs lie in `place` and write its verify files there.

    Also tells whether its answers are right: what is then left against it is its speed. Raises
    `AutosinianError` where there are no logs.
    """
    run = read_run(place / "performance" / "run_1")
    if run is None:
        raise AutosinianError(f"`{place}` must hold the logs of {test}, but does not")
    speed = judge_performance(test, reference, run)
    (place / VERIFY_PERFORMANCE).write_text(speed.text)
    answers: Finding | None = None
    if test == "TEST01":
        assert accuracy is not None
        answers = judge_accuracy(accuracy, place / "accuracy" / ACCURACY, truth)
        _write_answers(place, answers)
    right = answers is None or answers.passed
    parts = [part for part in (answers, speed) if part is not None and not part.passed]
    reasons = tuple(part.reason for part in parts)
    audit = Audit(test, reference.scenario, not parts, reasons, reference.score, run.score)
    return audit, right


def _write_answers(place: Path, answers: AccuracyFinding) -> None:
    (place / VERIFY_ACCURACY).write_text(answers.text)
    if answers.baseline:
        (place / "accuracy" / "baseline_accuracy.txt").write_text(answers.baseline)
        (place / "accuracy" / "compliance_accuracy.txt").write_text(answers.compliance)


def _require_in_force(test: str, text: str, run: RunLog, reference: RunLog) -> None:
    """LoadGen drops what it does not understand of an audit.config without a word."""
    if test == "TEST05":
        seeds = [f"effective_{name}" for name in ("qsl_rng_seed", "sample_index_rng_seed")]
        if all(run.values.get(seed) != reference.values.get(seed) for seed in seeds):
            return
    elif run.kind == test:
        return
    raise AutosinianError(
        f"LoadGen must follow the audit.config of {test}, but its log in `{run.folder}` says "
        f"{run.kind}; the file was: {' '.join(text.split())[:200]}"
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything. Raises `InputError`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"`{folder}` must not exist yet; choose another with `--out`")
