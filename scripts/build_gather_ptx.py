"""Compile `autosinian/engine/gather.cu` to the PTX text that is shipped beside it.

    pip install nvidia-cuda-nvrtc cuda-bindings
    python scripts/build_gather_ptx.py

No GPU is needed. The text says an old PTX version, so that old drivers take it too.
"""

import re
from pathlib import Path

from cuda.bindings import nvrtc

SOURCE = Path(__file__).parents[1] / "autosinian" / "engine" / "gather.cu"
ARCHITECTURE = b"compute_75"
# 6.3 is the first that knows sm_75; the text uses nothing newer. A driver refuses a newer version
# than its own, whatever the text holds.
PTX_VERSION = "6.5"


def compiled() -> str:
    """The PTX of `gather.cu`."""
    status, program = nvrtc.nvrtcCreateProgram(SOURCE.read_bytes(), b"gather.cu", 0, [], [])
    options = [b"--gpu-architecture=" + ARCHITECTURE]
    (failed,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(status) or int(failed):
        size = nvrtc.nvrtcGetProgramLogSize(program)[1]
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        raise SystemExit(log.decode())
    size = nvrtc.nvrtcGetPTXSize(program)[1]
    text = b" " * size
    nvrtc.nvrtcGetPTX(program, text)
    ptx = text.decode().rstrip("\0")
    ptx = re.sub(r"^\.version .*$", f".version {PTX_VERSION}", ptx, flags=re.MULTILINE)
    return maker() + re.sub(r"^//.*\n", "", ptx, flags=re.MULTILINE).lstrip("\n")


def maker() -> str:
    """The text's first line: other versions of the compiler make other texts."""
    _, major, minor = nvrtc.nvrtcVersion()
    return f"// made by NVRTC {major}.{minor}\n"


if __name__ == "__main__":
    SOURCE.with_suffix(".ptx").write_text(compiled())
