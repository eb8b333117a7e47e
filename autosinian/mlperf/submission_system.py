"""`systems/<system>.json`: the machine at hand in the fields that MLPerf asks for.

What a program cannot read (cooling, the memory modules, the network's shape) says N/A, and may be
replaced by a file of fields.
"""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from autosinian import __version__
from autosinian.engine.gpu import Gpu, asked, open_nvml
from autosinian.engine.processor import processor_name
from autosinian.errors import InputError
from autosinian.mlperf.rules import MAY_BE_EMPTY, SYSTEM_FIELDS

UNKNOWN = "N/A"
_IDENTITY = ("division", "submitter", "status", "system_name", "system_type")


def describe_system(
    identity: Mapping[str, str],
    *,
    gpus: Sequence[Gpu],
    framework: str,
    software: Mapping[str, str],
    replaced: Mapping[str, str],
) -> dict[str, str]:
    """Every field, as text. `identity` holds those that the submitter or the tree decides.

    `software` are versions by name; `replaced` overrides what was read.
    """
    stack = {"autosinian": __version__, "Python": platform.python_version(), **software}
    fields = {name: "" if name in MAY_BE_EMPTY else UNKNOWN for name in SYSTEM_FIELDS}
    fields |= {
        "number_of_nodes": "1",
        "system_type_detail": UNKNOWN,
        "framework": framework,
        "operating_system": _operating_system(),
        "other_software_stack": ", ".join(f"{name} {value}" for name, value in stack.items()),
    }
    fields |= _processor() | _memory_and_disk() | _network() | _accelerators(gpus)
    return dict(sorted((fields | dict(replaced) | dict(identity)).items()))


def read_fields(path: Path) -> dict[str, str]:
    """Fields that replace what was read, from a JSON object of texts.

    Raises `InputError` for another file, an unknown field and one that the command decides.
    """
    wanted = f"`{path}` must be a JSON object of system fields and texts, but"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{wanted} it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{wanted} it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{wanted} it is of type {type(value).__name__}")
    for name, text in value.items():
        if name in _IDENTITY or name not in SYSTEM_FIELDS:
            raise InputError(f"{wanted} `{name}` is none that a file may give")
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise InputError(f"{wanted} `{name}` is {text!r}")
    return {name: str(text) for name, text in value.items()}


def installed(names: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> dict[str, str]:
    sockets = _sockets()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    clock = psutil.cpu_freq()
    fastest = max(clock.max, clock.current) if clock else 0.0
    return {
        "host_processor_model_name": processor_name() or UNKNOWN,
        "host_processors_per_node": str(sockets),
        "host_processor_core_count": str(max(1, cores // sockets)),
        "host_processor_frequency": f"{fastest:.0f} MHz" if fastest else "",
        "host_processor_caches": _caches(),
    }


def _sockets() -> int:
    packages = set()
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id"):
        packages.add(_read(path))
    return max(1, len(packages - {"", "-1"}))


def _caches() -> str:
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = {"Data": "D", "Instruction": "I"}.get(_read(folder / "type"), "")
        size = _read(folder / "size")
        if size:
            found.append(f"L{_read(folder / 'level')}{kind}: {size}")
    return ", ".join(found)


def _memory_and_disk() -> dict[str, str]:
    total = shutil.disk_usage(Path.cwd()).total
    spinning = {_read(path) for path in Path("/sys/block").glob("[ns]*/queue/rotational")}
    kind = {"0": "SSD", "1": "HDD"}.get("".join(spinning), UNKNOWN)
    return {
        "host_memory_capacity": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "host_storage_capacity": f"{total / 1e9:.0f} GB",
        "host_storage_type": kind,
    }


def _network() -> dict[str, str]:
    cards = [path.name for path in Path("/sys/class/net").glob("*") if (path / "device").exists()]
    try:
        stats = psutil.net_if_stats()
    except OSError:
        stats = {}
    speeds = sorted({stats[name].speed for name in cards if name in stats} - {0})
    told = ", ".join(f"{speed / 1000:g} Gbit/s" for speed in speeds)
    return {
        "host_network_card_count": str(len(cards)),
        "host_networking": f"Ethernet, {told}" if told else UNKNOWN,
    }


def _accelerators(gpus: Sequence[Gpu]) -> dict[str, str]:
    if not gpus:
        return {"accelerators_per_node": "0"}
    first = gpus[0]
    return {
        "accelerators_per_node": str(len(gpus)),
        "accelerator_model_name": first.name,
        "accelerator_memory_capacity": f"{first.memory_bytes / 2**30:.0f} GB",
        **_of_nvml(first),
    }


def _of_nvml(gpu: Gpu) -> dict[str, str]:
    try:
        nvml = open_nvml()
    except InputError:
        return {}
    handle = asked(nvml.nvmlDeviceGetHandleByIndex, gpu.index)
    if handle is None:
        return {}
    found = {}
    clock = asked(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)
    if clock:
        found["accelerator_frequency"] = f"{clock} MHz"
    generation = asked(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle)
    width = asked(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle)
    if generation and width:
        found["accelerator_host_interconnect"] = f"PCIe Gen{generation} x{width}"
    links = [asked(nvml.nvmlDeviceGetNvLinkState, handle, link) for link in range(18)]
    if any(links):
        found["accelerator_interconnect"] = f"NVLink, {links.count(1)} links"
    return found


def _operating_system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(filter(None, (name, f"{platform.system()} {platform.release()}")))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
