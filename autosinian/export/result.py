"""`result.json`: every figure of an export, and what it takes to measure it again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.export.findings import Findings
from autosinian.export.remeasure import Remeasured
from autosinian.export.runs import ranking_metric
from autosinian.export.statement import LEVEL, NOISE_FLOOR, RULE
from autosinian.export.validation import describe_data
from autosinian.measure.logs import find_log, read_detail
from autosinian.measure.machine import machine_state
from autosinian.measure.measurement import Job, Measurement
from autosinian.search.outcome import Outcome
from autosinian.search.workbench import Workbench

_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")


def deciding_scenario(outcome: Outcome) -> str:
    """The scenario of the objective that decides the best, or the study's first."""
    return str(outcome.deciding_metric.scenario or outcome.document.scenarios[0])


def result_of(found: Findings, bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """All of `result.json` but the hashes. Samples/s are means over the interleaved rounds."""
    contender = found.contender
    scenario = deciding_scenario(outcome)
    rate = f"{scenario}.samples_per_second"
    arrays = bench.evaluator.arrays
    resolution = contender.candidate.subnet.resolution
    rule, data = arrays.rule(resolution), arrays.get("validation", resolution)
    stated = [ranking_metric(name) for name in outcome.document.scenarios]
    if rate not in stated:
        stated.append(rate)
    return {
        "accuracy": found.accuracy.accuracy,
        "baseline_accuracy": found.baseline_accuracy.accuracy,
        "search_accuracy": contender.metrics.get("accuracy"),
        "samples_per_second": found.winner.means()[rate],
        "baseline_samples_per_second": found.baseline.means()[rate],
        "scenario": scenario,
        "scenarios": {name: _figures(m) for name, m in found.final.items()},
        "confidence": found.confidence,
        "intervals": _intervals(found.winner, found.confidence),
        "baseline_intervals": _intervals(found.baseline, found.confidence),
        "stated": [statement.to_dict() for statement in found.statements(stated)],
        "stated_rule": {"rule": RULE, "level": LEVEL, "noise_floor": NOISE_FLOOR},
        "rounds": {
            "count": found.rounds,
            "seconds": found.seconds,
            "final_seconds": found.final_seconds,
            "values": {entry.contender.name: entry.values for entry in found.entries},
            "failures": {e.contender.name: e.failure for e in found.entries if e.failure},
            "disturbances": {
                e.contender.name: e.disturbances for e in found.entries if e.disturbances
            },
        },
        "choice": found.choice.to_dict(),
        "constraints": _constraints(found, outcome),
        "study": outcome.name,
        "trial": contender.trial,
        "candidate": contender.candidate.to_dict(),
        "candidate_key": contender.candidate.key,
        "baseline_candidate": found.baseline.contender.candidate.to_dict(),
        "macs": contender.metrics.get("macs"),
        "parameters": contender.metrics.get("parameters"),
        "supernet" if outcome.document.network is None else "network": {
            "name": Path(bench.network.name).name,
            "sha256": bench.network.sha256,
        },
        "preprocessing": rule.rule(),
        "data": describe_data(outcome.document, data, rule),
        "data_keys": bench.evaluator.networks.data_keys(contender.candidate)
        | {"search": arrays.get("search", resolution).key, "validation": data.key},
        "device": bench.engine.device(),
        "machine": machine_state(),
        "versions": bench.versions(),
        "engine_versions": dict(bench.engine.versions()),
        "search_versions": dict(outcome.versions),
        "model_sha256": file_sha256(contender.model),
        "seeds": {"search": outcome.seed, "loadgen": _seeds(found.final[scenario])},
        "jobs": {name: _job(job) for name, job in found.jobs.items()},
        "limits": {"time_s": found.limits.time_s, "memory_bytes": found.limits.memory_bytes},
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _figures(measured: Measurement) -> dict[str, Any]:
    return {
        "samples_per_second": measured.samples_per_second,
        "latency_ns": measured.latency_ns,
        "early_stopping_latency_ns": measured.early_stopping_latency_ns,
        "target_qps": measured.target_qps,
        "valid": measured.valid,
        "loadgen_s": measured.loadgen_s,
        "peak_memory_bytes": measured.peak_memory_bytes,
        "versions": measured.versions,
        "machine": measured.machine,
        "disturbance": measured.disturbance,
    }


def _intervals(entry: Remeasured, level: float) -> dict[str, Any]:
    return {name: entry.interval(name, level).to_dict() for name in sorted(entry.values)}


def _constraints(found: Findings, outcome: Outcome) -> list[dict[str, Any]]:
    """Each constraint with the final figures: accuracy on validation, performance of the rounds."""
    reference = outcome.reference | found.baseline.means()
    metrics = found.contender.metrics | found.winner.means()
    if found.baseline_accuracy.accuracy is not None and found.accuracy.accuracy is not None:
        reference["accuracy"] = found.baseline_accuracy.accuracy
        metrics["accuracy"] = found.accuracy.accuracy
    return [
        {
            "constraint": rule.text,
            "value": metrics[str(rule.metric)],
            "bound": rule.bound(reference),
            "holds": rule.violation(metrics[str(rule.metric)], reference) <= 0,
        }
        for rule in outcome.document.rules
    ]


def _job(job: Job) -> dict[str, Any]:
    """What verification needs to run the same; paths are not of this machine's concern."""
    return {
        "settings": job.settings,
        "log_settings": job.log_settings,
        "sut": job.sut,
        "benchmark": job.benchmark,
        "devices": list(job.devices),
    }


def _seeds(measured: Measurement) -> dict[str, int]:
    log = find_log(Path(measured.log_folder), "detail")
    if log is None:
        return {}
    values, _ = read_detail(log.read_text(errors="replace"))
    found = {name: values.get(f"effective_{name}", values.get(name)) for name in _SEEDS}
    return {name: int(value) for name, value in found.items() if value is not None}
