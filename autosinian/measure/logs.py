"""LoadGen's own logs as figures: the detail log's `:::MLLOG` lines and the accuracy log."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = ":::MLLOG "
_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")


@dataclass(frozen=True)
class Verdict:
    """What the detail log says of a performance run; absent figures are None."""

    valid: bool
    invalid_reason: str
    samples_per_second: float | None
    latency_ns: dict[str, float]
    early_stopping_latency_ns: float | None
    target_qps: float | None
    samples: int
    errors: tuple[str, ...]


def find_log(folder: Path, name: str) -> Path | None:
    """The newest log `mlperf_log_<name>` in a folder, whatever prefix and suffix it was given."""
    ending = "json" if name == "accuracy" else "txt"
    found = [path for path in folder.glob(f"*{name}*.{ending}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def read_detail(text: str) -> tuple[dict[str, Any], list[str]]:
    """The last value of each key, and the messages of error lines."""
    values: dict[str, Any] = {}
    errors: list[str] = []
    for line in text.splitlines():
        if not line.startswith(_MARK):
            continue
        try:
            entry = json.loads(line[len(_MARK) :])
        except json.JSONDecodeError:
            continue  # the last line of a run that was killed
        values[entry["key"]] = entry["value"]
        if entry.get("metadata", {}).get("is_error"):
            errors.append(str(entry["value"]))
    return values, errors


def read_verdict(detail_log: Path, scenario: str) -> Verdict:
    """Validity, rate and latencies of a performance run from its detail log."""
    values, errors = read_detail(detail_log.read_text(errors="replace"))
    per_query = scenario == "MultiStream"
    middle = "per_query_latency_ns" if per_query else "latency_ns"
    latency = {
        name: float(values[key])
        for name in _PERCENTILES
        if (key := f"result_{name}_percentile_{middle}") in values
    }
    mean = values.get("result_mean_query_latency_ns" if per_query else "result_mean_latency_ns")
    if mean is not None:
        latency["mean"] = float(mean)
    if scenario == "Offline":
        rate = values.get("result_samples_per_second")
    elif scenario == "Server":
        rate = values.get("result_completed_samples_per_sec")
    elif scenario == "SingleStream":
        rate = values.get("result_qps_with_loadgen_overhead")
    else:
        samples = values.get("effective_samples_per_query", 0)
        rate = 1e9 * samples / mean if mean else None
    stopping = {
        "SingleStream": "early_stopping_latency_ss",
        "MultiStream": "early_stopping_latency_ms",
    }
    # LoadGen writes 0 where it has too few queries for an estimate.
    early = values.get(stopping.get(scenario, ""), 0)
    valid = values.get("result_validity") == "VALID"
    reason = "" if valid else _invalid_reason(values, errors)
    return Verdict(
        valid=valid,
        invalid_reason=reason,
        samples_per_second=None if rate is None else float(rate),
        latency_ns=latency,
        early_stopping_latency_ns=float(early) or None,
        target_qps=values.get("effective_target_qps") if scenario == "Server" else None,
        samples=int(
            values.get("result_query_count", 0) * values.get("effective_samples_per_query", 0)
        ),
        errors=tuple(errors),
    )


def _invalid_reason(values: dict[str, Any], errors: list[str]) -> str:
    """LoadGen's reasons in one line; it gives none where only early stopping is not satisfied."""
    reasons = [str(values.get("result_invalid_reason", "")).strip()]
    if values.get("early_stopping_met") is False:
        reasons.append(str(values.get("early_stopping_result", "")).strip())
    reasons += errors
    told = "; ".join(" ".join(reason.split()) for reason in reasons if reason)
    return told or ("LoadGen gives no reason" if "result_validity" in values else "no verdict")


def read_labels(accuracy_log: Path, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels `count` that the run answered, and which samples it answered at all.

    The log has one object a line, its `data` the label's bytes in hex (`sut.complete` says which).
    Raises `ValueError` where a sample was answered twice with different labels.
    """
    labels = np.zeros(count, np.int64)
    seen = np.zeros(count, np.bool_)
    with accuracy_log.open() as stream:
        for line in stream:
            line = line.strip().lstrip("[").rstrip(",]").strip()
            if not line:
                continue
            entry = json.loads(line)
            index, data = int(entry["qsl_idx"]), bytes.fromhex(entry["data"])
            label = int.from_bytes(data, "little", signed=True)
            if seen[index] and labels[index] != label:
                raise ValueError(f"sample {index} was answered {labels[index]} and then {label}")
            labels[index], seen[index] = label, True
    return labels, seen


def accuracy_of(accuracy_log: Path, truth: NDArray[np.int64]) -> tuple[float, int]:
    """Fraction of samples whose label is right, and how many samples were answered.

    Raises `ValueError` where the log does not answer every sample.
    """
    labels, seen = read_labels(accuracy_log, len(truth))
    answered = int(seen.sum())
    if answered != len(truth):
        raise ValueError(f"the accuracy log answers {answered} of {len(truth)} samples")
    return float((labels == truth).mean()), answered
