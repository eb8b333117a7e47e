import json
from collections.abc import Iterable

import pytest

from autosinian.measure.gpu_samples import (
    GpuLimits,
    GpuRecord,
    GpuSample,
    count_strangers,
    decode_reasons,
    disturbance,
    summary,
)

LIMITS = GpuLimits(1, "NVIDIA H200", "GPU-1", "580.1", 1980, 3201, 700.0)
IDLE = GpuSample(345, 3201, 40, 75.0, 0, 0x1, 0)
FULL = GpuSample(1755, 3201, 61, 690.0, 100, 0x4, 0)


def record(samples: Iterable[GpuSample] = (IDLE, FULL, FULL), **changes: object) -> GpuRecord:
    values = {"before": IDLE, "processes": {}, "samples": tuple(samples), "others_percent": None}
    return GpuRecord(LIMITS, **(values | changes))  # type: ignore[arg-type]


def full(**changes: object) -> GpuSample:
    values = {**vars(FULL), **changes}
    return GpuSample(**values)


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ()),
        (0x1, ("idle",)),
        (0x4, ("software power cap",)),
        (0x48, ("hardware slowdown", "hardware thermal slowdown")),
        (0xA0, ("software thermal slowdown", "hardware power brake")),
        (0x4002, ("applications clocks setting", "reason 0x4000")),
    ],
)
def test_reasons_are_named_by_their_bits(mask: int, names: tuple[str, ...]) -> None:
    assert decode_reasons(mask) == names


def test_the_names_are_those_of_the_binding() -> None:
    import pynvml

    for name, words in {
        "GpuIdle": "idle",
        "ApplicationsClocksSetting": "applications clocks setting",
        "SwPowerCap": "software power cap",
        "HwSlowdown": "hardware slowdown",
        "SyncBoost": "sync boost",
        "SwThermalSlowdown": "software thermal slowdown",
        "HwThermalSlowdown": "hardware thermal slowdown",
        "HwPowerBrakeSlowdown": "hardware power brake",
        "DisplayClockSetting": "display clock setting",
    }.items():
        assert decode_reasons(getattr(pynvml, f"nvmlClocksThrottleReason{name}")) == (words,)


def test_a_quiet_gpu_at_its_power_limit_is_not_disturbed_and_the_cap_is_recorded() -> None:
    assert disturbance([record()]) == ""
    assert summary(record())["clock_reasons"] == {"software power cap": 1.0}


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (0x08, "hardware slowdown"),
        (0x20, "software thermal slowdown"),
        (0x48, "hardware slowdown, hardware thermal slowdown"),
        (0x84, "hardware power brake"),
    ],
)
def test_throttling_under_load_disturbs_even_if_seen_once(reasons: int, words: str) -> None:
    marked = record([IDLE, FULL, full(reasons=reasons), FULL])
    assert disturbance([record(), marked]) == f"GPU 1 was throttled: {words}"


@pytest.mark.parametrize("reasons", [0x0, 0x1, 0x2, 0x4, 0x10, 0x100, 0x200, 0x400, None])
def test_other_reasons_do_not_disturb(reasons: int | None) -> None:
    assert disturbance([record([full(reasons=reasons)])]) == ""


def test_what_slows_a_gpu_while_the_worker_still_starts_does_not_disturb() -> None:
    cooling = GpuSample(345, 3201, 80, 75.0, 0, 0x20, 0)
    assert disturbance([record([cooling, FULL])]) == ""
    # Where no load was seen, the run was too short to tell, or the driver does not say.
    assert "thermal" in disturbance([record([cooling])])


@pytest.mark.parametrize(("percent", "shared"), [(None, False), (0, False), (5, False), (6, True)])
def test_a_gpu_at_work_before_the_run_was_shared(percent: int | None, shared: bool) -> None:
    before = GpuSample(utilization_percent=percent)
    words = f"GPU 1 was shared: {percent} % busy before the run"
    assert disturbance([record(before=before)]) == (words if shared else "")


def test_a_process_that_came_during_the_run_shared_the_gpu() -> None:
    marked = record([FULL, full(strangers=1), FULL])
    assert disturbance([marked]) == "GPU 1 was shared: 1 other process came during the run"
    assert disturbance([record([full(strangers=2)])]).endswith(
        "2 other processes came during the run"
    )


def test_a_process_that_rested_before_and_works_during_the_run_shares_the_gpu() -> None:
    resting = record(processes={7: 1 << 30}, others_percent=0.0)
    assert disturbance([resting]) == ""
    assert summary(resting)["other_processes"] == {
        "before": 1,
        "memory_bytes": 1 << 30,
        "came": 0,
    }
    working = record(processes={7: 1 << 30}, others_percent=31.5)
    assert "31.5 % busy during the run" in disturbance([working])


@pytest.mark.parametrize(
    ("before", "now", "ours", "count"),
    [
        ((), (), (10,), 0),
        ((), (10,), (10, 11), 0),
        ((), (10, 11), (10, 11), 0),
        ((), (10, 99), (10,), 1),
        ((7,), (7, 10), (10,), 0),
        ((7,), (10,), (10,), 0),
        # The worker under an id of another namespace: the one that came is taken for it.
        ((), (4242,), (10,), 0),
        ((7,), (7, 4242, 4243), (10,), 1),
    ],
)
def test_processes_that_came_and_are_not_ours_are_counted(
    before: tuple[int, ...], now: tuple[int, ...], ours: tuple[int, ...], count: int
) -> None:
    assert count_strangers(before, now, ours) == count


def test_a_summary_is_of_the_gpu_under_load() -> None:
    found = summary(record([IDLE, FULL, full(sm_clock_mhz=1980, power_w=600.0), FULL]))
    assert found == {
        "index": 1,
        "name": "NVIDIA H200",
        "uuid": "GPU-1",
        "driver": "580.1",
        "samples": 4,
        "sm_clock_mhz": {"min": 1755, "median": 1755, "max": 1980, "limit": 1980},
        "memory_clock_mhz": {"min": 3201, "median": 3201, "max": 3201, "limit": 3201},
        "temperature_celsius": {"before": 40, "max": 61},
        "power_w": {"mean": 660.0, "max": 690.0, "limit": 700.0},
        "utilization_percent": {"before": 0, "mean": 75.0},
        "clock_reasons": {"software power cap": 1.0},
        "other_processes": {"before": 0, "came": 0},
    }
    assert json.loads(json.dumps(found)) == found


def test_what_a_virtual_machine_does_not_tell_is_left_out() -> None:
    unknown = GpuRecord(GpuLimits(0), GpuSample(), None, (GpuSample(), GpuSample()))
    assert summary(unknown) == {"index": 0, "samples": 2}
    assert summary(GpuRecord(GpuLimits(0))) == {"index": 0, "samples": 0}
    assert disturbance([unknown]) == ""
    assert disturbance([]) == ""
