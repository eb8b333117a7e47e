"""What the processor is called, what it can do and how many cores this process may use."""

import functools
import os
import platform
from pathlib import Path

# The instruction sets that compilers for neural networks choose their kernels by.
_FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2"),
)


@functools.cache
def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def processor_name() -> str:
    """The processor's model as its maker names it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_features() -> str:
    """The instruction sets that decide which kernels run, joined by spaces."""
    information = _cpuinfo()
    present = set((information.get("flags") or information.get("Features") or "").split())
    return " ".join(name for name in _FEATURES if name in present)


def usable_cores() -> int:
    """Number of processor cores that this process may run on."""
    return len(os.sched_getaffinity(0))
