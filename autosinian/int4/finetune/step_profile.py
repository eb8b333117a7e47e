"""Where the time of a training step goes: what the host issues, what the device runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

TIMED = 20
TRACED = 3
KERNELS = 15
"""So many kernels are named, those that take longest."""


@dataclass(frozen=True)
class StepProfile:
    """Milliseconds of one step: `step_ms` from start to end, `host_ms` until all was issued.

    `part_host_ms` divides the latter among preparing the batch, the update and what follows it.
    `kernels` counts what runs on the device (operators on a processor), which takes `device_ms`;
    `longest` are names, calls a step and milliseconds a step.
    """

    step_ms: float
    host_ms: float
    part_host_ms: tuple[float, float, float]
    kernels: float
    device_ms: float
    longest: tuple[tuple[str, float, float], ...]


def profiled(
    batch: Callable[[], None],
    update: Callable[[], None],
    after: Callable[[], None],
    device: torch.device,
    timed: int = TIMED,
) -> StepProfile:
    """Time `timed` steps of the three parts, and trace a few more."""
    parts = (batch, update, after)
    wait(device)
    start = time.monotonic()
    _issue(parts, timed, lambda: None)
    wait(device)
    step_ms = 1e3 * (time.monotonic() - start) / timed
    # From an idle device every time: a full queue would hold the host up.
    part_ms = _issue(parts, timed, lambda: wait(device))
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as trace:
        for _ in range(TRACED):
            for part in parts:
                part()
        wait(device)
    rows = _rows(trace, device)
    return StepProfile(
        step_ms,
        sum(part_ms),
        (part_ms[0], part_ms[1], part_ms[2]),
        sum(calls for _, calls, _ in rows),
        sum(ms for _, _, ms in rows),
        tuple(rows[:KERNELS]),
    )


def _issue(
    parts: Sequence[Callable[[], None]], timed: int, between: Callable[[], None]
) -> list[float]:
    """Milliseconds that the host takes for each part."""
    seconds = [0.0] * len(parts)
    for _ in range(timed):
        for number, part in enumerate(parts):
            start = time.monotonic()
            part()
            seconds[number] += time.monotonic() - start
        between()
    return [1e3 * total / timed for total in seconds]


def _rows(trace: Any, device: torch.device) -> list[tuple[str, float, float]]:
    """Name, calls a step and milliseconds a step of all that ran on `device`, longest first."""
    on_gpu = device.type == "cuda"
    rows = [
        (
            str(event.key),
            event.count / TRACED,
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3 / TRACED,
        )
        for event in trace.key_averages()
        if event.device_type.name == ("CUDA" if on_gpu else "CPU")
    ]
    return sorted(rows, key=lambda row: -row[2])


def wait(device: torch.device) -> None:
    """Until `device` has done all that was issued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
