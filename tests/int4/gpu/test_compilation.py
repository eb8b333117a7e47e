"""Kernels compile without a GPU for what they are meant to run on, tensor cores and all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Triton decides at its import whether to interpret, so that compiling needs a process of its own.
PROGRAM = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from autosinian.int4.configurations import configuration
from autosinian.int4.gpu import convolution, launch, pointwise
from tests.int4.gpu.single_layers import chained_pair

layer, after = chained_pair(64, 64)
shorts = {"uint8": "*u8", "int8": "*i8", "int32": "*i32", "float32": "*fp32"}
found = {}
for identity in (1780, 1782):
    choice = configuration(identity)
    kernel = pointwise.pointwise if choice.stationary else convolution.convolution
    constants = launch.constants(layer, choice, int(sys.argv[1]) // 10, after)
    constants |= {"DEPENDENT": int(sys.argv[1]) >= 90}
    types = iter([*(shorts[t] for t in launch.tensor_types(layer, choice)), "i32", "i32"])
    signature = {n: "constexpr" if n in constants else next(types) for n in kernel.arg_names}
    places = {name: (place,) for place, name in enumerate(kernel.arg_names)}
    compiled = triton.compile(
        triton.compiler.ASTSource(
            kernel,
            signature=signature,
            constexprs={places[name]: value for name, value in constants.items()},
            attrs={
                places[name]: [["tt.divisibility", 16]]
                for name, kind in signature.items()
                if kind.startswith("*")
            },
        ),
        target=GPUTarget("cuda", int(sys.argv[1]), 32),
        options={"num_warps": choice.warps},
    )
    ptx = compiled.asm["ptx"]
    found[identity] = ["wgmma" in ptx, "mma.sync" in ptx]
print(json.dumps(found))
"""


@pytest.mark.parametrize("capability", [75, 80, 90])
def test_tensor_cores_are_used_from_ampere_on(capability: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(capability)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for identity, (groups, warps) in json.loads(done.stdout).items():
        assert groups == (capability == 90), identity
        assert warps == (capability == 80), identity


KEYS = """
import sys
from autosinian.int4.gpu import executor, launch

kernels = launch.KERNELS | {"linear": executor.linear, "max_pool": executor.max_pool}
for name in sys.argv[1:]:
    kernels[name].cache_key
print(*(kernels[name].cache_key for name in sorted(kernels)))
"""


def test_every_process_finds_what_another_compiled() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    orders = (["convolution"], ["pointwise"], ["neighbourhood", "linear"], ["max_pool"])
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEYS, *order],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        ).stdout
        for order in orders
    }
    assert len(keys) == 1


AHEAD = """
import torch
from autosinian.int4.configurations import configuration
from autosinian.int4.gpu.compiling import Compiler, outcome
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.launch import compile_task
from tests.int4.gpu.single_layers import chained_pair

if __name__ == "__main__":
    layer, after = chained_pair(64, 64)
    device = Device(torch.device("cpu"), "named", (9, 0), 132, 232448, "none", overlapping=True)
    tasks = [compile_task(layer, configuration(number), device, after) for number in (1768, 1780)]
    compiler = Compiler(2)
    print([outcome(future) for future in compiler.submit(tasks)])
    compiler.close()
"""


def test_kernels_are_compiled_ahead_where_no_gpu_is_opened(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    program = tmp_path / "ahead.py"
    program.write_text(AHEAD)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "[None, None]\n"
    kernels = {path.name for path in (tmp_path / "cache").rglob("*.cubin")}
    assert kernels == {"convolution.cubin", "pointwise.cubin"}
