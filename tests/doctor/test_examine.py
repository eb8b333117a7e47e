"""`autosinian doctor` on this machine, and on kernels' files as other machines have them."""

import argparse
import json
import os
from pathlib import Path

import pytest

from autosinian.cli import doctor as command
from autosinian.doctor.examine import examine
from autosinian.doctor.finding import Files, Finding, told
from autosinian.doctor.memory import memory_findings
from autosinian.doctor.processor import processor_findings

STATUSES = {"ok", "note", "warning", "unknown"}
CPU = "sys/devices/system/cpu"


def doctor(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="autosinian")
    command.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["doctor", *arguments])
    return int(parsed.run(parsed))


def machine(root: Path, **texts: str) -> Files:
    """Files of a kernel below `root`; `__` in a name is `/`."""
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Files(root)


def named(findings: list[Finding], name: str) -> Finding:
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def test_this_machine_is_told_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor() == 0
    text = capsys.readouterr().out
    assert text.startswith("processor:\n")
    assert "transparent huge pages" in text
    assert text.rstrip().endswith(("warnings", "1 warning"))
    assert doctor("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["status"] for entry in found} <= STATUSES
    names = {entry["name"] for entry in found}
    assert {"governor", "load", "memory", "disk, here", "mlcommons-loadgen", "Python"} <= names
    # What moves figures says how, and what may be done about it.
    assert all(entry["effect"] for entry in found if entry["status"] == "warning")


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    for name in ("governor", "turbo", "transparent huge pages", "NUMA nodes", "thermal throttling"):
        assert named(findings, name).status == "unknown"


def test_nothing_is_changed(tmp_path: Path) -> None:
    files = machine(tmp_path, sys__kernel__mm__transparent_hugepage__enabled="always [never]")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    examine(files.root)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "path", "text", "status", "advice"),
    [
        ("governor", f"{CPU}/cpu0/cpufreq/scaling_governor", "performance", "ok", ""),
        ("governor", f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave", "warning", "cpupower"),
        ("turbo", f"{CPU}/intel_pstate/no_turbo", "0", "note", ""),
        ("turbo", f"{CPU}/cpufreq/boost", "0", "note", ""),
        ("thermal throttling", f"{CPU}/cpu0/thermal_throttle/core_throttle_count", "0", "ok", ""),
        (
            *("thermal throttling", f"{CPU}/cpu0/thermal_throttle/core_throttle_count"),
            *("12", "note", "cooling"),
        ),
        ("CPU limit of the control group", "sys/fs/cgroup/cpu.max", "max 100000", "ok", ""),
        (
            *("CPU limit of the control group", "sys/fs/cgroup/cpu.max"),
            *("50000 100000", "warning", "container"),
        ),
        ("CPU limit of the control group", "sys/fs/cgroup/cpu.max", "what", "unknown", ""),
    ],
)
def test_the_processor(
    name: str, path: str, text: str, status: str, advice: str, tmp_path: Path
) -> None:
    found = named(processor_findings(machine(tmp_path, **{path: text})), name)
    assert found.status == status
    assert advice in found.advice


@pytest.mark.parametrize(
    ("name", "path", "text", "status", "advice"),
    [
        (
            *("transparent huge pages", "sys/kernel/mm/transparent_hugepage/enabled"),
            *("[always] madvise never", "ok", ""),
        ),
        (
            *("transparent huge pages", "sys/kernel/mm/transparent_hugepage/enabled"),
            *("always madvise [never]", "note", "echo always"),
        ),
        ("memory limit of the control group", "sys/fs/cgroup/memory.max", "max", "ok", ""),
        (
            *("memory limit of the control group", "sys/fs/cgroup/memory.max"),
            *(str(1 << 30), "warning", "higher memory limit"),
        ),
        ("NUMA nodes", "sys/devices/system/node/node0/cpulist", "0-1", "ok", ""),
    ],
)
def test_memory(name: str, path: str, text: str, status: str, advice: str, tmp_path: Path) -> None:
    found = named(memory_findings(machine(tmp_path, **{path: text})), name)
    assert found.status == status
    assert advice in found.advice


def test_pages_that_move_between_nodes_are_warned_of(tmp_path: Path) -> None:
    nodes = {f"sys/devices/system/node/node{n}/cpulist": str(n) for n in range(2)}
    still = machine(tmp_path, **nodes, proc__sys__kernel__numa_balancing="0")
    assert named(memory_findings(still), "NUMA nodes").status == "note"
    moving = machine(tmp_path, proc__sys__kernel__numa_balancing="1")
    assert named(memory_findings(moving), "NUMA nodes").status == "warning"


def test_a_busy_machine_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (500.0, 1.0, 1.0))
    found = named(processor_findings(Files()), "load")
    assert found.status == "warning"
    assert found.value.startswith("500.00 on ")


def test_settings_of_the_environment_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    assert named(examine(), "KMP_BLOCKTIME").value == "7"


@pytest.mark.parametrize(
    "error", [OSError("gone"), AttributeError("old driver"), ValueError("odd")]
)
def test_what_fails_while_it_is_read_is_unknown(error: Exception) -> None:
    def look() -> Finding:
        raise error

    found = told("GPU 0", "clocks", look)
    assert (found.status, found.area, found.name) == ("unknown", "GPU 0", "clocks")
    assert str(error) in found.value


@pytest.mark.gpu
def test_gpus_are_told() -> None:
    findings = examine()
    assert named(findings, "driver").status == "ok"
    names = {finding.name for finding in findings if finding.area == "GPU 0"}
    assert {"model", "persistence mode", "clocks", "throttling", "power limit"} <= names
    assert "other users" in names
