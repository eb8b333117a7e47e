"""NVIDIA GPUs through NVML: settings, state, who else uses them."""

from typing import Any

from autosinian.doctor.finding import GOOD, NOTE, WARNING, Finding, Look, told, unknown
from autosinian.engine.gpu import Gpu, all_gpus, asked, open_nvml, visible_gpus
from autosinian.errors import InputError
from autosinian.measure.gpu_samples import BUSY_PERCENT, DISTURBING, decode_reasons

_HOT_CELSIUS = 80


def gpu_findings() -> list[Finding]:
    """Everything about every GPU; one finding where there is none."""
    try:
        nvml = open_nvml()
    except InputError as error:
        return [unknown("GPU", "driver", str(error))]
    gpus = all_gpus()
    if not gpus:
        return [unknown("GPU", "driver", "the driver shows no GPU")]
    visible = {gpu.index for gpu in visible_gpus()}
    found = [
        Finding("GPU", "driver", f"{gpus[0].driver}, for CUDA up to {gpus[0].cuda_driver}", GOOD)
    ]
    for gpu in gpus:
        handle = asked(nvml.nvmlDeviceGetHandleByIndex, gpu.index)
        if handle is None:
            found.append(unknown(f"GPU {gpu.index}", "state"))
        else:
            found += _of_one(nvml, handle, gpu, visible=gpu.index in visible)
    return found


def _of_one(nvml: Any, handle: Any, gpu: Gpu, *, visible: bool) -> list[Finding]:
    area = f"GPU {gpu.index}"
    shown = "" if visible else ", not visible to this process (CUDA_VISIBLE_DEVICES)"
    value = f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB{shown}"
    parts: list[tuple[str, Look]] = [
        ("model", lambda: Finding(area, "model", value, GOOD if visible else NOTE)),
        ("persistence mode", lambda: _persistence(nvml, handle, area, gpu.index)),
        ("clocks", lambda: _clocks(nvml, handle, area, gpu.index)),
        ("throttling", lambda: _throttling(nvml, handle, area)),
        ("power limit", lambda: _power(nvml, handle, area, gpu.index)),
        ("temperature", lambda: _temperature(nvml, handle, area)),
        ("other users", lambda: _users(nvml, handle, area)),
        ("PCIe link", lambda: _link(nvml, handle, area)),
        ("modes", lambda: _sharing(nvml, handle, area)),
    ]
    return [told(area, name, look) for name, look in parts]


def _persistence(nvml: Any, handle: Any, area: str, index: int) -> Finding:
    mode = asked(nvml.nvmlDeviceGetPersistenceMode, handle)
    if mode is None:
        return unknown(area, "persistence mode")
    if mode:
        return Finding(area, "persistence mode", "on", GOOD)
    return Finding(
        area,
        "persistence mode",
        "off",
        NOTE,
        "the driver lets the GPU down between workers: each start takes seconds, clocks start low",
        f"nvidia-smi -i {index} -pm 1",
    )


def _clocks(nvml: Any, handle: Any, area: str, index: int) -> Finding:
    now = asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
    most = asked(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)
    if most is None:
        return unknown(area, "clocks")
    value = f"SM {'unknown' if now is None else now} MHz now, {most} MHz at most"
    set_to = asked(nvml.nvmlDeviceGetApplicationsClock, handle, nvml.NVML_CLOCK_SM)
    if set_to is not None and set_to < most:
        value += f", applications clock {set_to} MHz"
    return Finding(
        area,
        "clocks",
        value,
        NOTE,
        "clocks follow power and temperature, and are low while the GPU rests",
        f"nvidia-smi -i {index} -lgc {most} locks them, -rgc lets them go",
    )


def _throttling(nvml: Any, handle: Any, area: str) -> Finding:
    mask = asked(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    if mask is None:
        return unknown(area, "throttling")
    reasons = decode_reasons(int(mask))
    slowed = [reason for reason in reasons if reason in DISTURBING]
    if slowed:
        return Finding(
            area,
            "throttling",
            ", ".join(slowed),
            WARNING,
            "the GPU runs slower than it is set to, now",
            "look after cooling and power supply",
        )
    return Finding(area, "throttling", ", ".join(reasons) or "none", GOOD)


def _power(nvml: Any, handle: Any, area: str, index: int) -> Finding:
    limit = asked(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    usual = asked(nvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    if limit is None:
        return unknown(area, "power limit")
    value = f"{limit / 1000:.0f} W"
    if usual is None or limit >= usual:
        return Finding(area, "power limit", value, GOOD)
    return Finding(
        area,
        "power limit",
        f"{value}, usual is {usual / 1000:.0f} W",
        WARNING,
        "clocks fall earlier under full load",
        f"nvidia-smi -i {index} -pl {usual // 1000}",
    )


def _temperature(nvml: Any, handle: Any, area: str) -> Finding:
    now = asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
    if now is None:
        return unknown(area, "temperature")
    if now < _HOT_CELSIUS:
        return Finding(area, "temperature", f"{now} C", GOOD)
    return Finding(
        area,
        "temperature",
        f"{now} C",
        WARNING,
        "a hot GPU lowers its clocks",
        "let it cool down before a run, look after cooling",
    )


def _users(nvml: Any, handle: Any, area: str) -> Finding:
    processes = asked(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
    rates = asked(nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = asked(nvml.nvmlDeviceGetMemoryInfo, handle)
    if processes is None and rates is None:
        return unknown(area, "other users")
    count = len(processes or ())
    parts = [f"{count} processes"]
    if rates is not None:
        parts.append(f"{rates.gpu} % busy")
    if memory is not None:
        parts.append(f"{memory.used / 2**30:.1f} GiB of memory used")
    busy = rates is not None and rates.gpu > BUSY_PERCENT
    if not busy and not count:
        return Finding(area, "other users", ", ".join(parts), GOOD)
    return Finding(
        area,
        "other users",
        ", ".join(parts),
        WARNING if busy else NOTE,
        "they take time and memory from a measurement",
        "stop them, or measure on another GPU with --devices",
    )


def _link(nvml: Any, handle: Any, area: str) -> Finding:
    width = asked(nvml.nvmlDeviceGetCurrPcieLinkWidth, handle)
    most = asked(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle)
    generation = asked(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle)
    if width is None or most is None:
        return unknown(area, "PCIe link")
    value = f"x{width} of x{most}" + (f", up to generation {generation}" if generation else "")
    if width >= most:
        return Finding(area, "PCIe link", value, GOOD)
    return Finding(
        area,
        "PCIe link",
        value,
        WARNING,
        "batches from host memory reach the GPU slower than they could",
        "put the card in a slot with all lanes",
    )


def _sharing(nvml: Any, handle: Any, area: str) -> Finding:
    mig = asked(nvml.nvmlDeviceGetMigMode, handle)
    ecc = asked(nvml.nvmlDeviceGetEccMode, handle)
    parts = []
    if mig is not None:
        parts.append(f"MIG {'on' if mig[0] else 'off'}")
    if ecc is not None:
        parts.append(f"ECC {'on' if ecc[0] else 'off'}")
    if not parts:
        return unknown(area, "modes")
    if mig is not None and mig[0]:
        return Finding(
            area,
            "modes",
            ", ".join(parts),
            WARNING,
            "a part of the GPU is measured, not the whole",
            "nvidia-smi -mig 0, when nobody uses its instances",
        )
    return Finding(area, "modes", ", ".join(parts), GOOD)
