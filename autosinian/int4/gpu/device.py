"""The GPU that kernels are chosen for, or the CPU that interprets them."""

from dataclasses import dataclass

import torch
import triton

from autosinian.errors import InputError
from autosinian.int4.gpu.interpreted import INTERPRETED

_INTERPRETED_SHARED_BYTES = 232448
_OLDEST = (7, 5)
_HALVES_CAPABILITY = 9
_OVERLAPPING_CAPABILITY = 9


@dataclass(frozen=True)
class Device:
    """`torch_device` with what decides kernels: capability, multiprocessors, shared memory.

    `overlapping`: launches start while the previous one ends (programmatic dependent launch, from
    compute capability 9.0 on).
    """

    torch_device: torch.device
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    driver: str
    overlapping: bool = False

    @property
    def interpreted(self) -> bool:
        """Whether kernels run on the CPU, slowly, for tests."""
        return self.torch_device.type == "cpu"

    def clamps_halves(self) -> bool:
        """Whether one instruction compares two 16-bit halves, and is used."""
        return self.capability[0] >= _HALVES_CAPABILITY and not self.interpreted

    def overlap(self) -> dict[str, bool]:
        """A launch's constant and option for `overlapping`."""
        if self.overlapping:
            return {"DEPENDENT": True, "launch_pdl": True}
        return {"DEPENDENT": False}

    def versions(self) -> dict[str, str]:
        """What compiled kernels depend on, for caches and result files."""
        return {
            "device": self.name,
            "driver": self.driver,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "launches": "overlapping" if self.overlapping else "in turn",
        }


def open_device(index: int = 0) -> Device:
    """The GPU of that index; the CPU under `TRITON_INTERPRET=1`.

    Raises `InputError` where there is none, or one older than Turing.
    """
    if INTERPRETED:
        return Device(
            torch.device("cpu"), "interpreted", (9, 0), 1, _INTERPRETED_SHARED_BYTES, "none"
        )
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise InputError(
            f"INT4 kernels need an NVIDIA GPU, but device {index} is not there; use the CPU "
            f"reference (`--device cpu`)"
        )
    found = torch.cuda.get_device_properties(index)
    if (found.major, found.minor) < _OLDEST:
        raise InputError(
            f"INT4 kernels need compute capability 7.5 or later, but {found.name} has "
            f"{found.major}.{found.minor}"
        )
    return Device(
        torch.device("cuda", index),
        found.name,
        (found.major, found.minor),
        found.multi_processor_count,
        int(getattr(found, "shared_memory_per_block_optin")),  # noqa: B009  (not in its stub)
        _driver(),
        overlapping=found.major >= _OVERLAPPING_CAPABILITY,
    )


def _driver() -> str:
    import pynvml

    pynvml.nvmlInit()
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()
