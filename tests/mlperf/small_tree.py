"""A submission as somebody else might have made it, of logs that keep every rule."""

import json
from pathlib import Path
from typing import Any

from autosinian.mlperf.rules import MEASUREMENT_FIELDS, SYSTEM_FIELDS
from tests.mlperf.log_files import write_run

SYSTEM = "box"
_PERCENTILES = {"SingleStream": 0.9, "MultiStream": 0.99, "Server": 0.99, "Offline": 0.99}


def make_tree(
    root: Path, division: str = "open", scenarios: tuple[str, ...] = ("Offline", "SingleStream")
) -> Path:
    """Write the tree; returns the submitter's folder."""
    top = root / division / "Example"
    (top / "src" / "resnet50").mkdir(parents=True)
    write_json(top / "systems" / f"{SYSTEM}.json", system(division))
    for scenario in scenarios:
        write_scenario(top / "results" / SYSTEM / "resnet50" / scenario, scenario, division)
    return top


def write_scenario(folder: Path, scenario: str, division: str) -> None:
    """One scenario's folder, with audits in the closed division."""
    told: dict[str, Any] = {
        "effective_scenario": scenario,
        "effective_target_latency_percentile": _PERCENTILES[scenario],
        "effective_target_latency_ns": 15_000_000 if scenario == "Server" else 0,
    }
    write_run(folder / "performance" / "run_1", **told)
    write_run(folder / "accuracy", **told, effective_test_mode="AccuracyOnly")
    write_text(folder / "accuracy" / "mlperf_log_accuracy.json", "[\n\n...\n\n]\n")
    write_text(folder / "accuracy" / "accuracy.txt", "accuracy=76.012%, good=38006\nhash=abc\n")
    write_text(folder / "README.md", "how\n")
    write_text(folder / "user.conf", "# nothing\n")
    write_json(folder / "measurements.json", dict.fromkeys(MEASUREMENT_FIELDS, "said"))
    if division != "closed":
        return
    kinds: dict[str, dict[str, Any]] = {
        "TEST01": {"effective_accuracy_log_sampling_target": 4096},
        "TEST04": {"effective_performance_issue_same": True},
    }
    for test, values in kinds.items():
        write_run(folder / test / "performance" / "run_1", **told, **values)
        write_text(folder / test / "verify_performance.txt", "Verifying\nTEST PASS\n")
    write_text(folder / "TEST01" / "verify_accuracy.txt", "Verifying\nTEST PASS\n")
    for name in ("mlperf_log_accuracy.json", "accuracy.txt"):
        write_text(folder / "TEST01" / "accuracy" / name, "hash=abc\n")


def system(division: str) -> dict[str, Any]:
    """A system's description."""
    fields: dict[str, Any] = dict.fromkeys(SYSTEM_FIELDS, "said")
    return fields | {
        "division": division,
        "submitter": "Example",
        "status": "available",
        "system_type": "edge",
    }


def write_text(path: Path, text: str) -> None:
    """Write a file below folders that are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON below folders that are made."""
    write_text(path, json.dumps(value))
