"""Whether kernels are interpreted on the CPU (`TRITON_INTERPRET=1` before triton is imported)."""

import triton

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)
