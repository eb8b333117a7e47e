"""A bundle's settings for this system, put into `configs/<benchmark>/<Scenario>/config.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autosinian.content import write_json
from autosinian.errors import InputError
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle
from autosinian.mlperf.config_file import DEFAULT, checked, config_path, read_config
from autosinian.mlperf.source import BENCHMARK

# Keys that mean something in one scenario only.
_OF_SCENARIO = {
    "gpu_offline_expected_qps": "Offline",
    "server_target_qps": "Server",
    "deque_timeout_us": "Server",
    "in_flight": "Server",
    "gpu_single_stream_expected_latency_ns": "SingleStream",
    "gpu_multi_stream_expected_latency_ns": "MultiStream",
}
_TOP = ("benchmark", DEFAULT, "scenario")


def check_configs(root: Path, scenarios: Sequence[str], benchmark: str = BENCHMARK) -> None:
    """Raise `InputError` where a file that is to be merged into is none."""
    for scenario in scenarios:
        path = config_path(root, benchmark, scenario)
        if path.exists():
            file = read_config(path)
            if (file.benchmark, file.scenario) != (benchmark, scenario):
                raise InputError(
                    f"`{path}` must be for {benchmark} {scenario}, but is for {file.benchmark} "
                    f"{file.scenario}"
                )


def write_configs(bundle: Bundle, root: Path) -> list[Path]:
    """Write the bundle's system into the file of each of its scenarios below `root`.

    Other systems stay as they are, and so do `default` and this system's `config_ver` of a file
    that is there: where `default` says otherwise than the bundle, the system's own entry says what
    the bundle does. Raises `InputError` for a file that is none, before the first is written.
    """
    content = json.loads(bundle.path(files.SYSTEM_CONFIG).read_text(encoding="utf-8"))
    benchmark, scenarios = content["benchmark"], list(bundle.result["scenarios"])
    check_configs(root, scenarios, benchmark)
    (system,) = (name for name in content if name not in _TOP)
    written = []
    for scenario in scenarios:
        path = config_path(root, benchmark, scenario)
        own = {
            k: v for k, v in content[system].items() if _OF_SCENARIO.get(k, scenario) == scenario
        }
        merged = _merged(path, content[DEFAULT], system, own, benchmark, scenario)
        checked(merged, path)
        try:
            write_json(path, merged)
        except OSError as error:
            raise InputError(f"`{path}` must be written, but: {error.strerror}") from error
        written.append(path)
    return written


def _merged(
    path: Path,
    default: dict[str, Any],
    system: str,
    entry: dict[str, Any],
    benchmark: str,
    scenario: str,
) -> dict[str, Any]:
    if not path.exists():
        return {"benchmark": benchmark, "scenario": scenario, DEFAULT: default, system: entry}
    there: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    known = there.setdefault(DEFAULT, {})
    differing = {k: v for k, v in default.items() if k not in known or known[k] != v}
    versions = there.get(system, {}).get("config_ver", {}) | entry.get("config_ver", {})
    return {**there, system: {**differing, **entry, "config_ver": versions}}
