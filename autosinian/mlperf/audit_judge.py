"""Whether an audit is passed, from the logs of the audited run and of the submission's own runs.

The bounds are those of the verification scripts in compliance/ of github.com/mlcommons/inference
(commits 1a99ac8763 for TEST01 and 52e78b37a3 for TEST04), TEST05's of rounds before v5.0.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.measure.logs import read_labels
from autosinian.mlperf.submission_logs import ACCURACY, RunLog

_NEAR = 0.10
_NEAR_TEST05 = 0.05
_NEAR_SHORT = 0.20
_SHORT_NS = {"SingleStream": 200_000, "MultiStream": 1_600_000}
"""Latencies up to which what the system does beside moves the figure by more."""

AGREEMENT = 0.99
"""Least share of equal answers where some differ: rounding moves few labels, cheating many."""
_ACCURACY_DELTA_PERCENT = 1.0


@dataclass(frozen=True)
class Finding:
    """One part of an audit: `text` is the content of its verify file."""

    passed: bool
    text: str
    reason: str = ""


@dataclass(frozen=True)
class AccuracyFinding(Finding):
    """TEST01's; the two accuracies stand where answers differ, each as a file's text."""

    baseline: str = ""
    compliance: str = ""


def judge_performance(test: str, reference: RunLog, audited: RunLog) -> Finding:
    """Whether the audited run is as fast as the test allows.

    TEST01: within 10 % of the reference; TEST04: not more than 10 % faster; TEST05: not more than
    5 % slower; each 20 % where the reference's latency is short (200 us a query).
    """
    wrong = _comparable(reference, audited)
    if wrong:
        return Finding(False, f"Verifying performance.\nTEST FAIL: {wrong}\n", wrong)
    before, after = reference.score, audited.score
    assert before is not None and after is not None  # `_comparable` says so
    near = _bound(test, reference)
    rate = reference.scenario in ("Offline", "Server")
    faster = after / before if rate else before / after
    # The bounds are of the score: of a latency they are other bounds of the speed.
    slow, fast = (1 - near, 1 + near) if rate else (1 / (1 + near), 1 / (1 - near))
    lowest, highest = {
        "TEST01": (slow, fast),
        "TEST04": (0.0, 1 + near),
        "TEST05": (slow, math.inf),
    }[test]
    passed = lowest <= faster <= highest
    allowed = f"at least {lowest:.3f}" if highest == math.inf else f"at most {highest:.3f}"
    if test == "TEST01":
        allowed = f"{lowest:.3f} to {highest:.3f}"
    reason = "" if passed else f"{faster:.3f}x the reference's speed, allowed {allowed}"
    text = (
        f"Verifying performance.\nreference score = {before}\ntest score = {after}\n"
        f"{'TEST PASS' if passed else f'TEST FAIL: {reason}'}\n"
    )
    return Finding(passed, text, reason)


def judge_accuracy(reference: RunLog, answers: Path, truth: NDArray[Any]) -> AccuracyFinding:
    """Whether the sampled answers of a performance run are those of the accuracy run.

    `answers` is the performance run's mlperf_log_accuracy.json, `truth` are the labels, `N`.
    Answers that differ are borne where they are few and the accuracy over the sampled ones differs
    by at most 1 %, as the rules bear with rounding.
    """
    count = len(truth)
    try:
        expected, known = read_labels(reference.folder / ACCURACY, count)
        found, sampled = read_labels(answers, count)
    except (OSError, ValueError, KeyError, IndexError) as error:
        reason = f"the answers cannot be compared: {error}"
        return AccuracyFinding(False, f"Verifying accuracy.\nTEST FAIL: {reason}\n", reason)
    both = known & sampled
    mismatches = int((expected[both] != found[both]).sum())
    lines = [
        "Verifying accuracy.",
        f"num_acc_log_entries = {int(known.sum())}",
        f"num_perf_log_entries = {int(sampled.sum())}",
        f"num_perf_log_qsl_idx_match = {int(both.sum())}",
        f"num_perf_log_data_mismatch = {mismatches}",
        f"num_missing_qsl_idxs = {int((sampled & ~known).sum())}",
    ]
    if not both.any():
        reason = "the performance run logged no answer that the accuracy run has"
        return AccuracyFinding(False, "\n".join([*lines, "TEST FAIL", ""]), reason)
    if not mismatches:
        return AccuracyFinding(True, "\n".join([*lines, "TEST PASS", ""]))
    text = "\n".join([*lines, "TEST FAIL", ""])
    baseline, compliance = (labels[both] == truth[both] for labels in (expected, found))
    passed = 1 - mismatches / int(both.sum()) >= AGREEMENT and _near_accuracy(baseline, compliance)
    return AccuracyFinding(
        passed,
        text,
        f"{mismatches} of {int(both.sum())} sampled answers differ from the accuracy run's",
        accuracy_line(baseline),
        accuracy_line(compliance),
    )


def accuracy_line(right: NDArray[Any]) -> str:
    """The line that the reference's accuracy script prints; `right` says which answers are."""
    good, total = int(right.sum()), len(right)
    return f"accuracy={100 * good / total:.3f}%, good={good}, total={total}\n"


def _near_accuracy(baseline: NDArray[np.bool_], compliance: NDArray[np.bool_]) -> bool:
    before, after = float(baseline.mean()), float(compliance.mean())
    return after > 0 and abs(1 - before / after) * 100 <= _ACCURACY_DELTA_PERCENT


def _comparable(reference: RunLog, audited: RunLog) -> str:
    """Why the two runs cannot be compared; empty where they can."""
    for name, run in (("reference", reference), ("audited", audited)):
        if not run.valid:
            return f"the {name} run is not VALID"
        if run.score is None:
            return f"the {name} run has no score: too few queries for an estimate"
    if reference.scenario != audited.scenario:
        return f"the scenarios differ: {reference.scenario} and {audited.scenario}"
    target = "effective_target_latency_ns"
    if reference.scenario == "Server" and reference.values.get(target) != audited.values.get(
        target
    ):
        return "the Server latency bounds differ"
    return ""


def _bound(test: str, reference: RunLog) -> float:
    assert reference.score is not None
    if reference.score <= _SHORT_NS.get(reference.scenario, 0):
        return _NEAR_SHORT
    return _NEAR_TEST05 if test == "TEST05" else _NEAR
