"""Versions of everything that a figure depends on, and the environment's settings of it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from autosinian import __version__
from autosinian.doctor.finding import GOOD, NOTE, Finding, unknown

AREA = "software"
_PACKAGES = (
    *("mlcommons-loadgen", "numpy", "onnx", "onnxruntime", "openvino", "torch", "torchvision"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt_rtx", "nvidia-ml-py", "optuna"),
)
_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY", "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY"),
    *(
        "MKL_NUM_THREADS",
        "MALLOC_CONF",
        "LD_PRELOAD",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_MODULE_LOADING",
    ),
)


def software_findings() -> list[Finding]:
    """Everything about software, in the order in which it is told."""
    return [
        Finding(AREA, "autosinian", __version__, GOOD),
        Finding(AREA, "system", platform.platform(), GOOD),
        Finding(AREA, "Python", platform.python_version(), GOOD),
        *(_package(name) for name in _PACKAGES if _version(name)),
        *_environment(),
    ]


def _package(name: str) -> Finding:
    found = _version(name)
    return Finding(AREA, name, found, GOOD) if found else unknown(AREA, name)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _environment() -> list[Finding]:
    return [
        Finding(
            AREA,
            name,
            os.environ[name],
            NOTE,
            "libraries follow it in every worker; another value gives other figures",
        )
        for name in _VARIABLES
        if os.environ.get(name)
    ]
