"""The files of a bundle, from what an export measured."""

import shutil
from pathlib import Path

from autosinian.content import write_json
from autosinian.engine.processor import usable_cores
from autosinian.export import bundle as files
from autosinian.export.findings import Findings
from autosinian.export.result import result_of
from autosinian.export.system_config import system_config
from autosinian.export.user_conf import user_conf
from autosinian.report.html import write_report
from autosinian.report.remeasurement import BundleDetails, Remeasurement
from autosinian.search.outcome import Outcome
from autosinian.search.workbench import Workbench
from autosinian.supernet.net_files import write_net

# What the worker keeps beside LoadGen's logs and holds paths of this machine.
_WORKER_FILES = ("_job.json", "_result.json", "_stderr.txt")


def write_bundle(folder: Path, found: Findings, bench: Workbench, outcome: Outcome) -> None:
    """Write every file into `folder`, `result.json` with the others' hashes last."""
    contender = found.contender
    candidate, networks = contender.candidate, bench.evaluator.networks
    write_net(folder, networks.module(candidate.subnet), candidate.subnet.resolution)
    shutil.copyfile(contender.model, folder / files.MODEL)
    shutil.copyfile(contender.engine_file, folder / files.ENGINE)
    if candidate.quantization.precision == "int8":
        shutil.copyfile(networks.calibrator_cache(candidate), folder / files.CALIBRATOR_CACHE)
    _copy_logs(found.logs, folder / files.LOGS)
    result = result_of(found, bench, outcome)
    write_json(
        folder / files.SYSTEM_CONFIG,
        system_config(
            candidate,
            bench.engine.device(),
            usable_cores(),
            found.final,
            scenario=result["scenario"],
            benchmark=found.jobs[result["scenario"]].benchmark,
            dataset=bench.document.data.name,
            performance_samples=min(found.accuracy.samples, 1024),
        ),
    )
    settings = {scenario: dict(job.settings) for scenario, job in found.jobs.items()}
    offline = found.final.get("Offline")
    if offline is not None and offline.samples_per_second:
        settings["Offline"].setdefault("offline_expected_qps", offline.samples_per_second)
    (folder / files.USER_CONF).write_text(user_conf(settings))
    write_report(folder / files.REPORT, outcome, details(found, outcome))
    files.seal(folder, result)


def _copy_logs(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.name.endswith(_WORKER_FILES):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def details(found: Findings, outcome: Outcome) -> BundleDetails:
    """What the report shows of the export."""
    metric = str(outcome.deciding_metric)
    accuracies = {
        found.contender.name: found.accuracy.accuracy,
        found.baseline.contender.name: found.baseline_accuracy.accuracy,
    }
    remeasurements = []
    for entry in found.entries:
        if entry.failure or metric not in entry.values:
            continue
        interval = entry.interval(metric, found.confidence)
        remeasurements.append(
            Remeasurement(
                trial=entry.contender.trial,
                metric=metric,
                values=tuple(entry.values[metric]),
                mean=interval.mean,
                low=interval.low,
                high=interval.high,
                chosen=entry is found.winner,
                accuracy=accuracies.get(entry.contender.name),
            )
        )
    return BundleDetails(tuple(remeasurements), confidence=found.confidence)
