"""What an export adds to the study's report."""

from typing import Any

from autosinian.export.findings import Findings
from autosinian.export.remeasure import Remeasured
from autosinian.export.runs import ranking_metric
from autosinian.export.statement import Statement
from autosinian.report.machine import disturbance_words, machine_words
from autosinian.report.remeasurement import BundleDetails, Remeasurement
from autosinian.search.outcome import Outcome


def details(found: Findings, outcome: Outcome, result: dict[str, Any]) -> BundleDetails:
    """The re-measured candidates and the bundle's further facts, for `write_report`."""
    metric = str(outcome.deciding_metric)
    if metric not in found.winner.values:  # decided by what is not timed
        metric = ranking_metric(result["scenario"])
    accuracies = {
        found.contender.name: found.accuracy.accuracy,
        found.baseline.contender.name: found.baseline_accuracy.accuracy,
    }
    return BundleDetails(
        tuple(
            _remeasurement(entry, metric, found, accuracies.get(entry.contender.name))
            for entry in found.entries
        ),
        confidence=found.confidence,
        facts=_facts(result),
    )


def _remeasurement(
    entry: Remeasured, metric: str, found: Findings, accuracy: float | None
) -> Remeasurement:
    values = entry.values.get(metric, [])
    mean = low = high = float("nan")
    if len(values) > 1:
        interval = entry.interval(metric, found.confidence)
        mean, low, high = interval.mean, interval.low, interval.high
    return Remeasurement(
        trial=entry.contender.trial,
        metric=metric,
        values=tuple(values),
        mean=mean,
        low=low,
        high=high,
        chosen=entry is found.winner,
        accuracy=accuracy,
        failure=entry.failure,
    )


def _facts(result: dict[str, Any]) -> dict[str, str]:
    data = result["data"]
    facts = {
        "measured on": f"{result['device']}, {result['machine']['cores']} cores",
        "validated on": f"{data['samples']} samples of {data['name']} that the search never saw",
    }
    for value in result["stated"]:
        statement = Statement.from_dict(value)
        low, high = statement.interval.low, statement.interval.high
        facts[f"stated {statement.metric}"] = f"{low:,.6g} to {high:,.6g}"
    for name, figures in result["scenarios"].items():
        latency = figures["latency_ns"]
        if latency and name != "Offline":  # one query: its latency is the run's length
            facts[f"{name} latency"] = latency_words(latency)
        if gpus := machine_words(figures["machine"]):
            facts[f"{name} GPUs"] = gpus
        if disturbed := disturbance_words(figures["machine"], figures["disturbance"]):
            facts[f"{name} disturbed"] = disturbed
    for constraint in result["constraints"]:
        verdict = "holds" if constraint["holds"] else "does not hold"
        facts[constraint["constraint"]] = (
            f"{verdict} on the final figures: {constraint['value']:.6g} against "
            f"{constraint['bound']:.6g}"
        )
    return facts


def latency_words(latency_ns: dict[str, float]) -> str:
    """Percentiles in milliseconds: `p50 1.2 ms, p99 3.4 ms, mean 1.3 ms`."""
    return ", ".join(
        f"{name if name == 'mean' else f'p{float(name):g}'} {value / 1e6:.3g} ms"
        for name, value in latency_ns.items()
    )
