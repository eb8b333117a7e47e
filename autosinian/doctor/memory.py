"""Memory and disk: huge pages, limits, what is free."""

import shutil
import tempfile
from pathlib import Path

import psutil

from autosinian.doctor.finding import GOOD, NOTE, WARNING, Files, Finding, told, unknown

AREA = "memory and disk"
_LEAST_MEMORY = 4 << 30
_LEAST_DISK = 10 << 30
_UNLIMITED = 1 << 60


def memory_findings(files: Files) -> list[Finding]:
    """Everything about memory and disk, in the order in which it is told."""
    return [
        told(AREA, "memory", _memory),
        told(AREA, "memory limit of the control group", lambda: _limit(files)),
        told(AREA, "swap", _swap),
        told(AREA, "transparent huge pages", lambda: _huge_pages(files)),
        told(AREA, "NUMA nodes", lambda: _numa(files)),
        told(AREA, "disk, here", lambda: _disk("here", Path.cwd())),
        told(AREA, "disk, temporary files", lambda: _disk("temporary files", _temporary())),
    ]


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    value = f"{_gib(memory.available)} of {_gib(memory.total)} available"
    if memory.available >= _LEAST_MEMORY:
        return Finding(AREA, "memory", value, GOOD)
    return Finding(
        AREA,
        "memory",
        value,
        WARNING,
        "a worker may be killed: a full-length Offline run takes up to 4 GiB",
        "stop what takes memory, or take a machine with more",
    )


def _limit(files: Files) -> Finding:
    name = "memory limit of the control group"
    text = files.text("sys/fs/cgroup/memory.max")
    if text is None:
        text = files.text("sys/fs/cgroup/memory/memory.limit_in_bytes")
    if text is None:
        return unknown(AREA, name)
    if not text.isdecimal() or int(text) >= _UNLIMITED:
        return Finding(AREA, name, "none", GOOD)
    if int(text) >= _LEAST_MEMORY:
        return Finding(AREA, name, _gib(int(text)), GOOD)
    return Finding(
        AREA,
        name,
        _gib(int(text)),
        WARNING,
        "the kernel kills a worker that grows beyond it, whatever the machine has free",
        "start the container with a higher memory limit",
    )


def _swap() -> Finding:
    swap = psutil.swap_memory()
    if swap.used < (256 << 20):
        return Finding(AREA, "swap", f"{_gib(swap.used)} used", GOOD)
    return Finding(
        AREA,
        "swap",
        f"{_gib(swap.used)} used",
        NOTE,
        "pages that were swapped out come back slowly, in the middle of a run",
        "free memory, then swapoff -a and swapon -a",
    )


def _huge_pages(files: Files) -> Finding:
    name = "transparent huge pages"
    text = files.text("sys/kernel/mm/transparent_hugepage/enabled")
    if text is None:
        return unknown(AREA, name)
    chosen = text.partition("[")[2].partition("]")[0] or text
    if chosen == "always":
        return Finding(AREA, name, chosen, GOOD)
    return Finding(
        AREA,
        name,
        chosen,
        NOTE,
        "large arrays of samples lie in pages of 4 KiB: gathering batches is slower",
        "echo always > /sys/kernel/mm/transparent_hugepage/enabled",
    )


def _numa(files: Files) -> Finding:
    nodes = len(files.matching("sys/devices/system/node/node[0-9]*/cpulist"))
    moving = files.number("proc/sys/kernel/numa_balancing")
    if not nodes:
        return unknown(AREA, "NUMA nodes")
    if nodes == 1:
        return Finding(AREA, "NUMA nodes", "1", GOOD)
    if not moving:
        return Finding(
            AREA,
            "NUMA nodes",
            f"{nodes}, pages stay",
            NOTE,
            "memory of another node is slower",
            "run on one node: numactl --cpunodebind=0 --membind=0 autosinian ...",
        )
    return Finding(
        AREA,
        "NUMA nodes",
        f"{nodes}, the kernel moves pages",
        WARNING,
        "moving pages between nodes stops threads for moments",
        "echo 0 > /proc/sys/kernel/numa_balancing, or bind to one node with numactl",
    )


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _disk(what: str, folder: Path) -> Finding:
    name = f"disk, {what}"
    free = shutil.disk_usage(folder).free
    value = f"{_gib(free)} free in {folder}"
    if free >= _LEAST_DISK:
        return Finding(AREA, name, value, GOOD)
    return Finding(
        AREA,
        name,
        value,
        WARNING,
        "preprocessed images, engine files and logs need room: a search stops on a full disk",
        "free space, or set TMPDIR to another disk" if what != "here" else "free space",
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
