"""The files of a bundle, from what an export measured."""

import shutil
from pathlib import Path

from autosinian.content import write_json
from autosinian.engine.processor import usable_cores
from autosinian.export import bundle as files
from autosinian.export.details import details
from autosinian.export.findings import Findings
from autosinian.export.result import result_of
from autosinian.export.system_config import HEADROOM, system_config
from autosinian.export.user_conf import user_conf
from autosinian.report.html import write_report
from autosinian.search.outcome import Outcome
from autosinian.search.workbench import Workbench

# What the worker keeps beside LoadGen's logs and holds paths of this machine.
_WORKER_FILES = ("_job.json", "_result.json", "_stderr.txt")


def write_bundle(folder: Path, found: Findings, bench: Workbench, outcome: Outcome) -> None:
    """Write every file into `folder`, `result.json` with the others' hashes last."""
    contender = found.contender
    candidate, networks = contender.candidate, bench.evaluator.networks
    networks.write_network(candidate.subnet, folder)
    shutil.copyfile(contender.model, folder / networks.model_name)
    shutil.copyfile(contender.engine_file, folder / files.ENGINE)
    if candidate.quantization.precision == "int8":
        for name, path in networks.calibration_files(candidate).items():
            shutil.copyfile(path, folder / name)
    _copy_logs(found.logs, folder / files.LOGS)
    result = result_of(found, bench, outcome)
    write_json(
        folder / files.SYSTEM_CONFIG,
        system_config(
            candidate,
            bench.engine.device(),
            len(bench.workers.devices) or usable_cores(),
            found.final,
            scenario=result["scenario"],
            benchmark=found.jobs[result["scenario"]].benchmark,
            dataset=bench.document.data.name,
            performance_samples=min(found.accuracy.samples, 1024),
        ),
    )
    final = {"min_duration_ms": round(found.final_seconds * 1000)}
    settings = {scenario: {**job.settings, **final} for scenario, job in found.jobs.items()}
    offline = found.final.get("Offline")
    if offline is not None and offline.samples_per_second:
        expected = HEADROOM * offline.samples_per_second
        settings["Offline"].setdefault("offline_expected_qps", expected)
    (folder / files.USER_CONF).write_text(user_conf(settings))
    write_report(folder / files.REPORT, outcome, details(found, outcome, result))
    files.seal(folder, result)


def _copy_logs(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        # LoadGen leaves an empty trace where tracing is off.
        if path.is_file() and path.stat().st_size and not path.name.endswith(_WORKER_FILES):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
