"""What looks at a GPU during a measurement say of it: a summary, and whether it was disturbed.

Rules over recorded data; `gpu_watch` records. NVML's fields are absent (None) where a GPU, driver
or virtual machine does not tell them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

# nvml.h, nvmlClocksEventReasons (before driver 535: nvmlClocksThrottleReasons).
CLOCK_REASONS = {
    0x001: "idle",
    0x002: "applications clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability voltage",
}

NOT_THROTTLING = frozenset({"idle", "applications clocks setting"})
"""States of a GPU that does what it is told to."""

DISTURBING = frozenset(
    {
        "hardware slowdown",
        "software thermal slowdown",
        "hardware thermal slowdown",
        "hardware power brake",
    }
)
"""Reasons that mark a measurement: another time, cooler or better supplied, it would be faster.
A software power cap does not: a large GPU at full load runs at its power limit by design."""

BUSY_PERCENT = 5
"""Utilization from which somebody works on a GPU, and a look at it counts as one under load."""


@dataclass(frozen=True)
class GpuSample:
    """One look. `strangers` counts compute processes that came after the start and are not ours."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_celsius: int | None = None
    power_w: float | None = None
    utilization_percent: int | None = None
    reasons: int | None = None
    strangers: int | None = None


@dataclass(frozen=True)
class GpuLimits:
    """What the GPU is and may do at most."""

    index: int
    name: str | None = None
    uuid: str | None = None
    driver: str | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class GpuRecord:
    """All that was seen of one GPU.

    `before` is the state at the start; its utilization is the lowest of some looks in a row, since
    the driver's figure lags by up to a second. `processes` maps the ids of those that were there
    before to their bytes of device memory. `others_percent` is how busy those kept the GPU during
    the measurement.
    """

    limits: GpuLimits
    before: GpuSample = GpuSample()
    processes: Mapping[int, int | None] | None = None
    samples: Sequence[GpuSample] = field(default=())
    others_percent: float | None = None


def decode_reasons(mask: int) -> tuple[str, ...]:
    """Names of the reasons in NVML's bit mask; a bit without a known name is given in hex."""
    bits = (1 << position for position in range(mask.bit_length()))
    return tuple(CLOCK_REASONS.get(bit, f"reason {bit:#x}") for bit in bits if mask & bit)


def count_strangers(before: Collection[int], now: Collection[int], ours: Collection[int]) -> int:
    """How many processes came after the start and are neither the worker nor its descendants.

    A container's NVML may give ids of another namespace, or hide processes. While none of `ours`
    is seen, one that came is taken for the worker.
    """
    came = set(now) - set(before)
    unknown = came - set(ours)
    hidden = 0 if came & set(ours) else 1
    return max(0, len(unknown) - hidden)


def disturbance(records: Sequence[GpuRecord]) -> str:
    """Why the measurement counts as disturbed, in one phrase; empty where it does not."""
    return next(filter(None, map(_disturbance, records)), "")


def summary(record: GpuRecord) -> dict[str, Any]:
    """One GPU in plain data, JSON-ready; what is unknown is left out.

    Clocks (MHz), power (W, the driver's average over a second) and the share of looks with each
    reason to lower the clocks are those under load, or of all looks where none was.
    """
    loaded, limits = _loaded(record.samples), record.limits
    temperatures = _known(record, "temperature_celsius", record.samples)
    powers = _known(record, "power_w", loaded)
    busy = _known(record, "utilization_percent", record.samples)
    fields: dict[str, Any] = {
        "index": limits.index,
        "name": limits.name,
        "uuid": limits.uuid,
        "driver": limits.driver,
        "samples": len(record.samples),
        "sm_clock_mhz": _clock(_known(record, "sm_clock_mhz", loaded), limits.sm_clock_mhz),
        "memory_clock_mhz": _clock(
            _known(record, "memory_clock_mhz", loaded), limits.memory_clock_mhz
        ),
        "temperature_celsius": _some(
            before=record.before.temperature_celsius, max=max(temperatures, default=None)
        ),
        "power_w": _some(
            mean=round(fmean(powers), 1) if powers else None,
            max=max(powers, default=None),
            limit=limits.power_w,
        ),
        "utilization_percent": _some(
            before=record.before.utilization_percent,
            mean=round(fmean(busy), 1) if busy else None,
            others=record.others_percent,
        ),
        "clock_reasons": _shares(loaded),
        "other_processes": _others(record),
    }
    return _some(**fields)


def _disturbance(record: GpuRecord) -> str:
    name = f"GPU {record.limits.index}"
    seen = {reason for s in _loaded(record.samples) for reason in decode_reasons(s.reasons or 0)}
    slowed = [reason for reason in CLOCK_REASONS.values() if reason in seen & DISTURBING]
    if slowed:
        return f"{name} was throttled: {', '.join(slowed)}"
    before = record.before.utilization_percent
    if before is not None and before > BUSY_PERCENT:
        return f"{name} was shared: {before} % busy before the run"
    strangers = _most_strangers(record)
    if strangers:
        processes = "process" if strangers == 1 else "processes"
        return f"{name} was shared: {strangers} other {processes} came during the run"
    others = record.others_percent
    if others is not None and others > BUSY_PERCENT:
        return f"{name} was shared: other processes kept it {others:g} % busy during the run"
    return ""


def _loaded(samples: Sequence[GpuSample]) -> Sequence[GpuSample]:
    """The looks under load: while a worker starts, a GPU rests at its lowest clocks."""
    return [s for s in samples if (s.utilization_percent or 0) > BUSY_PERCENT] or samples


def _known(record: GpuRecord, name: str, samples: Sequence[GpuSample]) -> list[Any]:
    return [value for s in samples if (value := getattr(s, name)) is not None]


def _clock(values: list[int], limit: int | None) -> dict[str, Any]:
    if not values:
        return _some(limit=limit)
    return _some(min=min(values), median=median(values), max=max(values), limit=limit)


def _shares(samples: Sequence[GpuSample]) -> dict[str, float] | None:
    masks = [s.reasons for s in samples if s.reasons is not None]
    if not masks:
        return None
    names = [name for mask in masks for name in decode_reasons(mask)]
    return {
        name: round(names.count(name) / len(masks), 3)
        for name in dict.fromkeys(names)
        if name not in NOT_THROTTLING
    }


def _others(record: GpuRecord) -> dict[str, Any]:
    if record.processes is None:
        return {}
    memory = [count for count in record.processes.values() if count is not None]
    return _some(
        before=len(record.processes),
        memory_bytes=sum(memory) if memory else None,
        came=_most_strangers(record),
    )


def _most_strangers(record: GpuRecord) -> int:
    return max((s.strangers or 0 for s in record.samples), default=0)


def _some(**fields: Any) -> dict[str, Any]:
    """Only the fields that are known; `clock_reasons` may be known and empty."""
    return {k: v for k, v in fields.items() if v is not None and (v != {} or k == "clock_reasons")}
