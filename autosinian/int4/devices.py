"""An executor by the device's name: the processor's here, a GPU's from its own room."""

import importlib.util
from pathlib import Path

from autosinian.errors import InputError
from autosinian.int4.autoconfig import check_autoconfig, read_autoconfig
from autosinian.int4.executor import Executor
from autosinian.int4.network import Network

DEVICES = ("cpu", "cuda")


def open_executor(
    network: Network, device: str, autoconfig: Path | None = None, batch_size: int = 64
) -> Executor:
    """Make `network` ready on `device`; `autoconfig` chooses a GPU's kernels.

    A GPU runs `batch_size` images at a time. Raises `InputError` for an unknown device, an
    autoconfig on the processor or not of this network, or no usable GPU.
    """
    if device == "cpu":
        if autoconfig is not None:
            raise InputError(
                f"an autoconfig file chooses kernels of a GPU, but the device is cpu: leave "
                f"`{autoconfig}` out, or name `--device cuda`"
            )
        from autosinian.int4.cpu_executor import CpuExecutor

        return CpuExecutor(network)
    if device != "cuda":
        raise InputError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    ids = None
    if autoconfig is not None:
        ids = read_autoconfig(autoconfig)
        check_autoconfig(ids, network, f"`{autoconfig}`")
    if importlib.util.find_spec("triton") is None:
        raise InputError(
            "device cuda needs the package `triton`, which is not there: install torch for CUDA, "
            "or name `--device cpu`"
        )
    import torch

    from autosinian.int4.gpu.chosen import chosen
    from autosinian.int4.gpu.device import open_device
    from autosinian.int4.gpu.executor import Executor as GpuExecutor
    from autosinian.int4.gpu.executor import PreparedNetwork
    from autosinian.int4.gpu.plan import plan

    opened, planned = open_device(), plan(network)
    choices = chosen(planned, ids, opened.shared_bytes)
    try:
        return GpuExecutor(PreparedNetwork(planned, opened), batch_size, choices)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"batch {batch_size} must fit the memory of {opened.name}, but does not; choose a "
            "smaller one"
        ) from error
