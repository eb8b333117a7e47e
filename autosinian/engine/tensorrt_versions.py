"""What differs between TensorRT 8.6, 10, 11 and TensorRT for RTX, in one place.

8 and 10 take builder flags for fp16 and int8; 8 knows implicit INT8 as well (a dynamic range a
tensor). 11 and RTX know strongly typed networks alone, where every precision is in the ONNX file
itself. RTX builds for GPUs that are not there.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Any

from autosinian.errors import InputError

# Import name, what to call it, and the distributions that may have brought it.
_MODULES = (
    (
        "tensorrt",
        "tensorrt",
        (
            "tensorrt",
            "tensorrt-cu13",
            "tensorrt-cu12",
            "tensorrt-bindings",
            "tensorrt-cu13-bindings",
            "tensorrt-cu12-bindings",
        ),
    ),
    ("tensorrt_rtx", "tensorrt_rtx", ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings")),
    ("tensorrt_rtx_bindings", "tensorrt_rtx", ("tensorrt-rtx-cu13-bindings",)),
)
_INSTALL = "pip install autosinian[tensorrt]"


@dataclass(frozen=True)
class Library:
    """One installed TensorRT: how to import it, and what it is."""

    module: str
    name: str
    version: str

    @property
    def major(self) -> int:
        """The version's first number; RTX counts its own."""
        return int(self.version.partition(".")[0])

    @property
    def is_rtx(self) -> bool:
        """TensorRT for RTX: refuses data centre GPUs, times nothing at build time."""
        return self.name == "tensorrt_rtx"

    @property
    def strongly_typed(self) -> bool:
        """Precisions are those of the ONNX file; no builder flag changes them."""
        return self.is_rtx or self.major >= 11

    @property
    def implicit_int8(self) -> bool:
        """INT8 may be asked for by dynamic ranges, without Q/DQ in the file."""
        return not self.is_rtx and self.major == 8

    @property
    def has_timing_cache(self) -> bool:
        """What was timed at one build can speed up the next."""
        return not self.is_rtx

    @property
    def title(self) -> str:
        """As users know it."""
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"


@functools.cache
def installed() -> Library:
    """The TensorRT that is installed, the full one before RTX.

    Packages are asked first, since importing takes seconds; a module that no package brought is
    imported for its version. Raises `InputError` where there is none.
    """
    for module, name, distributions in _MODULES:
        if importlib.util.find_spec(module) is None:
            continue
        for distribution in distributions:
            try:
                return Library(module, name, importlib.metadata.version(distribution))
            except importlib.metadata.PackageNotFoundError:
                continue
        return Library(module, name, str(_imported(module).__version__))
    raise InputError(f"TensorRT must be installed for the engine tensorrt; `{_INSTALL}`")


def load(library: Library) -> Any:
    """The Python module of `library`."""
    return _imported(library.module)


@functools.cache
def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"TensorRT must be importable, but `import {module}` fails: {reason}; `{_INSTALL}`"
        ) from error


def network_flags(trt: Any, library: Library) -> int:
    """Flags of `create_network`: an explicit batch where that is a choice, strong types else."""
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED if library.strongly_typed else flags.EXPLICIT_BATCH)


def configure(trt: Any, library: Library, config: Any, precision: str) -> None:
    """Set what depends on the version: precision flags, tactic sources, shared profiles.

    Where int8 is a flag, what is not quantized may run in fp16. fp32 is fp32, not TF32.
    """
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if not library.strongly_typed:
        if precision in ("fp16", "int8"):
            config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
        # The others need cuBLAS and cuDNN of one version each, and win next to nothing.
        sources = trt.TacticSource
        config.set_tactic_sources(
            1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS)
        )
        # Else each execution context would need an optimization profile of its own.
        sharing = getattr(trt.PreviewFeature, "PROFILE_SHARING_0806", None)
        if sharing is not None:
            config.set_preview_feature(sharing, True)


def target(trt: Any, library: Library, config: Any, capability: tuple[int, int]) -> None:
    """Have RTX build for GPUs of `capability`; the others build for the GPU at hand."""
    if not library.is_rtx:
        return
    name = f"SM{capability[0]}{capability[1]}"
    value = getattr(trt.ComputeCapability, name, None)
    if value is None:
        known = ", ".join(sorted(trt.ComputeCapability.__members__))
        raise InputError(
            f"{library.title} builds for {known}, but this GPU is {name}; install the full "
            f"TensorRT: `{_INSTALL}`"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(value, 0)


def context_memory_size(engine: Any) -> int:
    """Bytes of scratch memory that one execution context works in."""
    newer = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if newer is None else newer)


def capturable(context: Any, stream: int) -> bool:
    """Whether what `context` starts on `stream` can be captured; RTX alone may say no."""
    return not hasattr(context, "is_stream_capturable") or bool(
        context.is_stream_capturable(stream)
    )


def new_context(trt: Any, engine: Any, address: int, size: int) -> Any:
    """An execution context that works in the caller's `size` bytes at `address`."""
    if hasattr(trt, "ExecutionContextAllocationStrategy"):
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is not None:
            context.set_device_memory(address, size)
    else:
        context = engine.create_execution_context_without_device_memory()
        if context is not None:
            context.device_memory = address
    return context
