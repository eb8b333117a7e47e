"""The processor: clocks, cores that may be used, load."""

import os

import psutil

from autosinian.doctor.finding import GOOD, NOTE, WARNING, Files, Finding, told, unknown
from autosinian.engine.processor import processor_name, usable_cores

AREA = "processor"
_CPU = "sys/devices/system/cpu"
_BUSY = 0.25
"""Load a core from which other work slows a measurement."""


def processor_findings(files: Files) -> list[Finding]:
    """Everything about the processor, in the order in which it is told."""
    return [
        told(AREA, "model", lambda: Finding(AREA, "model", processor_name(), GOOD)),
        told(AREA, "cores", _cores),
        told(AREA, "governor", lambda: _governor(files)),
        told(AREA, "turbo", lambda: _turbo(files)),
        told(AREA, "CPU limit of the control group", lambda: _quota(files)),
        told(AREA, "thermal throttling", lambda: _throttling(files)),
        told(AREA, "load", _load),
    ]


def _cores() -> Finding:
    usable, there = usable_cores(), os.cpu_count() or 0
    value = f"{usable} of {there} logical cores"
    if usable < there:
        return Finding(
            AREA, "cores", value, NOTE, "engines may use the cores of this process's affinity alone"
        )
    return Finding(AREA, "cores", value, GOOD)


def _governor(files: Files) -> Finding:
    found = set(files.matching(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor").values())
    if not found:
        return unknown(AREA, "governor", "the system does not tell (usual in a virtual machine)")
    value = ", ".join(sorted(found))
    if found == {"performance"}:
        return Finding(AREA, "governor", value, GOOD)
    return Finding(
        AREA,
        "governor",
        value,
        WARNING,
        "clocks follow the load, so that short runs and low rates are slower and vary",
        "cpupower frequency-set -g performance",
    )


def _turbo(files: Files) -> Finding:
    off = files.number(f"{_CPU}/intel_pstate/no_turbo")
    boost = files.number(f"{_CPU}/cpufreq/boost")
    if off is None and boost is None:
        return unknown(AREA, "turbo")
    on = off == 0 if off is not None else boost == 1
    if not on:
        return Finding(
            AREA, "turbo", "off", NOTE, "figures are lower and steadier than with turbo on"
        )
    return Finding(
        AREA,
        "turbo",
        "on",
        NOTE,
        "clocks fall as the processor warms and as more cores work: long runs are slower",
    )


def _quota(files: Files) -> Finding:
    text = files.text("sys/fs/cgroup/cpu.max")
    if text is None:
        quota = files.number("sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = files.number("sys/fs/cgroup/cpu/cpu.cfs_period_us")
        text = f"{'max' if quota is None or quota < 0 else quota} {period or 100000}"
        if quota is None:
            return unknown(AREA, "CPU limit of the control group")
    words = text.split()
    if not words or words[0] == "max":
        return Finding(AREA, "CPU limit of the control group", "none", GOOD)
    try:
        cores = int(words[0]) / int(words[1])
    except (IndexError, ValueError, ZeroDivisionError):
        return unknown(AREA, "CPU limit of the control group")
    status = WARNING if cores < usable_cores() else GOOD
    return Finding(
        AREA,
        "CPU limit of the control group",
        f"{cores:g} cores",
        status,
        "threads are stopped for the rest of a period when it is used up: latencies jump"
        if status == WARNING
        else "",
        "start the container without a CPU limit, or with as many cores as threads"
        if status == WARNING
        else "",
    )


def _throttling(files: Files) -> Finding:
    names = f"{_CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count"
    counts = [int(text) for text in files.matching(names).values() if text.isdecimal()]
    if not counts:
        return unknown(AREA, "thermal throttling")
    total = sum(counts)
    if not total:
        return Finding(AREA, "thermal throttling", "never since the start", GOOD)
    return Finding(
        AREA,
        "thermal throttling",
        f"{total} times since the start",
        NOTE,
        "a hot processor lowers its clocks; long runs may be slower",
        "look after cooling and fans where the number grows during a run",
    )


def _load() -> Finding:
    try:
        load = os.getloadavg()[0]
    except OSError:
        return unknown(AREA, "load")
    value = f"{load:.2f} on {usable_cores()} cores (mean of the last minute)"
    if load <= _BUSY * usable_cores():
        return Finding(AREA, "load", value, GOOD)
    busiest = ", ".join(_busiest())
    return Finding(
        AREA,
        "load",
        value,
        WARNING,
        f"other work takes time from a measurement{f': {busiest}' if busiest else ''}",
        "wait until the machine is quiet, or stop what runs there",
    )


def _busiest() -> list[str]:
    """Names of the processes that took most processor time so far, ours left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() == psutil.STATUS_RUNNING:
                found.append((sum(process.cpu_times()[:2]), process.name(), process.pid))
        except (psutil.Error, OSError):
            continue
    return [f"{name} ({pid})" for _, name, pid in sorted(found, reverse=True)[:3]]
