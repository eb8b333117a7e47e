"""An executor by the device's name: the processor's here, a GPU's from its own room."""

from pathlib import Path

from autosinian.errors import InputError
from autosinian.int4.executor import Executor
from autosinian.int4.network import Network

DEVICES = ("cpu", "cuda")


def open_executor(network: Network, device: str, autoconfig: Path | None = None) -> Executor:
    """Make `network` ready on `device`; `autoconfig` chooses a GPU's kernels.

    Raises `InputError` for an unknown device, an autoconfig on the processor, or no usable GPU.
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
    raise InputError("device cuda needs kernels, which are not there yet")
