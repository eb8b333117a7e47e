"""The NVIDIA GPUs of this machine, as the driver's management library (NVML) lists them.

Neither torch nor a CUDA context is needed, so a parent may ask before it starts a worker.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from autosinian.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
LOADING = "CUDA_MODULE_LOADING"
NVMLS_ORDER = "PCI_BUS_ID"
"""The order in which CUDA numbers GPUs as NVML does; its default puts the fastest first."""

T = TypeVar("T")


@dataclass(frozen=True)
class Gpu:
    """One GPU. `index` is NVML's, by PCI bus, as `nvidia-smi` shows it.

    `driver` is the driver's version, `cuda_driver` the newest CUDA that it supports, as `12.4`.
    `memory_bytes` is 0 where the GPU has none of its own.
    """

    index: int
    uuid: str
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: str
    cuda_driver: str


def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU that the driver shows; empty where there is no driver. A lost GPU is left out."""
    try:
        nvml = open_nvml()
    except InputError:
        return ()
    driver = asked(nvml.nvmlSystemGetDriverVersion) or ""
    cuda = asked(nvml.nvmlSystemGetCudaDriverVersion) or 0
    found = []
    for index in range(asked(nvml.nvmlDeviceGetCount) or 0):
        handle = asked(nvml.nvmlDeviceGetHandleByIndex, index)
        uuid = asked(nvml.nvmlDeviceGetUUID, handle) if handle is not None else None
        if uuid is None:
            continue
        capability = asked(nvml.nvmlDeviceGetCudaComputeCapability, handle) or (0, 0)
        memory = asked(nvml.nvmlDeviceGetMemoryInfo, handle)
        found.append(
            Gpu(
                index,
                uuid,
                asked(nvml.nvmlDeviceGetName, handle) or "unknown NVIDIA GPU",
                (int(capability[0]), int(capability[1])),
                int(memory.total) if memory is not None else 0,
                driver,
                f"{cuda // 1000}.{cuda % 1000 // 10}",
            )
        )
    return tuple(found)


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the environment lets a process use, in its order; numbers are NVML's."""
    return among(all_gpus(), os.environ.get(VISIBLE))


def among(gpus: Sequence[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    """Those of `gpus` that a value of `CUDA_VISIBLE_DEVICES` shows; all where it is None.

    As CUDA reads it: indices or UUIDs, which may be cut short where they stay unique, up to the
    first that names no GPU (the CUDA C++ programming guide, "CUDA environment variables"). GPU
    instances (`MIG-...`) name no whole GPU.
    """
    if visible is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for word in map(str.strip, visible.split(",")):
        if word.isdecimal():
            named = [gpu for gpu in gpus if gpu.index == int(word)]
        else:
            named = [gpu for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
        if len(named) != 1:
            break
        found += [gpu for gpu in named if gpu not in found]
    return tuple(found)


def select_gpus(indices: Sequence[int]) -> tuple[Gpu, ...]:
    """The visible GPUs with these NVML indices, in this order; the first one where none is given.

    Raises `InputError` for an index that is not there or given twice, and as `require_gpu` does.
    """
    return chosen(require_gpu(), indices)


def chosen(gpus: Sequence[Gpu], indices: Sequence[int]) -> tuple[Gpu, ...]:
    """Those of `gpus`, at least one, with these indices. Raises `InputError` as `select_gpus`."""
    if not indices:
        return (gpus[0],)
    known = {gpu.index: gpu for gpu in gpus}
    for position, index in enumerate(indices):
        if index not in known:
            raise InputError(
                f"a device index must be one of {', '.join(map(str, known))}, but got {index}"
            )
        if index in indices[:position]:
            raise InputError(f"a device index must be given once, but got {index} twice")
    return tuple(known[index] for index in indices)


def require_gpu() -> tuple[Gpu, ...]:
    """The visible GPUs, at least one. Raises `InputError` that says why there is none."""
    gpus = all_gpus()
    visible = os.environ.get(VISIBLE)
    shown = among(gpus, visible)
    if shown:
        return shown
    if gpus:
        names = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
        raise InputError(
            f"an NVIDIA GPU must be visible, but {VISIBLE}={visible!r} shows none of {names}; "
            f"unset it, or name one by its index or its whole UUID"
        )
    open_nvml()
    raise InputError(
        "an NVIDIA GPU must be there, but the driver shows none; start a container with GPUs "
        "passed in, or choose an engine for the processor"
    )


def cuda_environment(devices: Sequence[int]) -> dict[str, str]:
    """What a process must have set to see these GPUs alone, numbered from 0 in this order.

    Kernels are loaded when they are first used, which is CUDA's default since 12.2 alone.
    """
    loading = os.environ.get(LOADING, "LAZY")
    return {ORDER: NVMLS_ORDER, VISIBLE: ",".join(map(str, devices)), LOADING: loading}


def open_nvml() -> Any:
    """The module `pynvml`, ready to use. Raises `InputError` where the driver cannot be asked.

    It stays open until the process ends: NVML counts its users, and opening may wake a GPU.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise InputError(
            f"an NVIDIA GPU must be there, but its driver cannot be asked: {error}; install "
            "NVIDIA's driver, start a container with GPUs passed in, or choose an engine for the "
            "processor"
        ) from error
    return pynvml


def asked(question: Callable[..., T], *arguments: Any) -> T | None:
    """NVML's answer, or None where this GPU, driver or virtual machine gives none."""
    import pynvml

    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None
