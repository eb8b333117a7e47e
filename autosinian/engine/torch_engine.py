"""PyTorch on the processor or on any GPU that it supports: the reference for the other engines.

An engine file keeps the ONNX. Every tunable may change without a rebuild; torch itself is imported
at the first build or open.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.engine.device_session import DeviceSession
from autosinian.engine.engine_file import (
    EngineHeader,
    write_engine_file,
)
from autosinian.engine.gpu import VISIBLE, visible_gpus
from autosinian.engine.options import complete_options, read_for
from autosinian.engine.processor import processor_features, processor_name, usable_cores
from autosinian.engine.protocol import Tunable
from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig

_MOST_STREAMS = 8
_MOST_COPY_STREAMS = 4
# Where the processor multiplies in bf16 itself; elsewhere torch converts and is slower than fp32.
_BF16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}
_AMPERE = (8, 0)  # the first NVIDIA GPUs with bf16
_AMD_DRIVER = Path("/dev/kfd")


@dataclass(frozen=True)
class _Gpu:
    """The GPU that a worker computes on; `driver` is empty where nothing tells it."""

    name: str
    driver: str
    bf16: bool


class TorchEngine:
    """On the first visible GPU where there is one, else on the processor."""

    name = "torch"

    def tunables(self) -> tuple[Tunable, ...]:
        """Those of the GPU where there is one, else those of the processor."""
        if self._gpu is not None:
            own: tuple[Tunable, ...] = (
                _free("streams", 1, "batches inferred at once", 1, _MOST_STREAMS),
                _free(
                    "copy_streams",
                    1,
                    "streams that copy samples to the GPU; 0: each inference stream its own",
                    0,
                    _MOST_COPY_STREAMS,
                ),
                _choice(
                    "graphs", (True, False), "replay each batch size as a CUDA graph, or launch it"
                ),
                _choice(
                    "samples",
                    ("host", "device"),
                    "batches are gathered in host memory and copied, or the samples are in the "
                    "GPU's memory beforehand",
                ),
                _choice(
                    "cudnn_benchmark",
                    (False, True),
                    "cuDNN tries its kernels for each layer at the start, which takes minutes for "
                    "depthwise layers in channels_last",
                ),
            )
        else:
            cores = usable_cores()
            own = (
                _free("streams", 1, "batches inferred at once", 1, cores),
                _free("threads", cores, "threads shared by all streams", 1, cores),
            )
        return (
            *own,
            _choice(
                "channels_last",
                # On the processor torch's depthwise kernels are 2-3 times slower that way.
                (True, False) if self._gpu is not None else (False, True),
                "keep images as N x H x W x C in memory",
            ),
            _choice(
                "compile",
                ("none", "default", "max-autotune"),
                "torch.compile in this mode; takes seconds to minutes when first opened",
            ),
            _choice(
                "partial_batch",
                ("pad", "ladder"),
                "a batch that is not full is padded to the whole, or to the next power of two "
                "(pays in the Server scenario)",
            ),
        )

    def precisions(self) -> tuple[str, ...]:
        """`fp32`, `bf16` where the device computes in it, and on a GPU `fp16`."""
        if self._gpu is not None:
            return ("fp32", "bf16", "fp16") if self._gpu.bf16 else ("fp32", "fp16")
        quick = _BF16_FEATURES & set(processor_features().split())
        return ("fp32", "bf16") if quick else ("fp32",)

    def device(self) -> str:
        """The model of the GPU or of the processor."""
        return processor_name() if self._gpu is None else self._gpu.name

    def versions(self) -> Mapping[str, str]:
        """torch's version, and the GPU's with its libraries or the processor's."""
        if self._gpu is None:
            return {
                "torch": version("torch"),
                "processor": processor_name(),
                "processor_features": processor_features(),
            }
        import torch

        cudnn: Any = torch.backends.cudnn
        return {
            "torch": version("torch"),
            "cuda": str(torch.version.cuda or torch.version.hip),
            "cudnn": str(cudnn.version()),
            "gpu": self._gpu.name,
            "driver": self._gpu.driver,
        }

    def uses_gpu(self) -> bool:
        """Whether a GPU is visible."""
        return self._gpu is not None

    def slow_imports(self) -> tuple[str, ...]:
        """What imports torch and its parts."""
        return ("autosinian.engine.torch_session",)

    def warm(self) -> None:
        """Loads torch; on a GPU makes its context, with the libraries of convolutions."""
        from autosinian.engine.torch_session import warm

        warm(on_gpu=self._gpu is not None)

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Prove that `model` runs at `config.batch_size` and write it to `engine_file`."""
        options = complete_options(self, config)
        if precision not in self.precisions():
            known = ", ".join(self.precisions())
            raise InputError(
                f"precision must be one that {self.device()} runs ({known}), got {precision!r}"
            )
        from autosinian.engine.torch_graph import read_onnx
        from autosinian.engine.torch_session import keep_compiled_beside, prove

        content = read_onnx(model)
        if options["compile"] != "none":
            keep_compiled_beside(engine_file)
        network = prove(content, f"model {model}", precision, config.batch_size, options)
        header = EngineHeader(
            engine=self.name,
            device=self.device(),
            versions=dict(self.versions()),
            model_sha256=file_sha256(model),
            precision=precision,
            batch_size=config.batch_size,
            options=options,
            input_shape=network.input_shape,
            classes=network.classes,
        )
        write_engine_file(engine_file, header, {"onnx": content})

    def rehearse(self, model: Path, precision: str, config: EngineConfig) -> None:
        """On a GPU, load the kernels of each convolution, which takes every process seconds."""
        options = complete_options(self, config)
        if self._gpu is None or options["compile"] != "none":
            return
        from autosinian.engine.torch_graph import read_onnx
        from autosinian.engine.torch_session import rehearse

        rehearse(read_onnx(model), f"model {model}", precision, config.batch_size, options)

    def open(self, engine_file: Path, config: EngineConfig) -> DeviceSession:
        """Load `engine_file` with every option of `config`."""
        header, sections, options = read_for(self, engine_file, config)
        from autosinian.engine.torch_session import keep_compiled_beside, open_session

        if options["compile"] != "none":
            keep_compiled_beside(engine_file)
        return open_session(
            sections["onnx"],
            f"engine file {engine_file}",
            header.precision,
            header.batch_size,
            options,
        )

    @functools.cached_property
    def _gpu(self) -> _Gpu | None:
        gpus = visible_gpus()
        if gpus:
            return _Gpu(gpus[0].name, gpus[0].driver, gpus[0].compute_capability >= _AMPERE)
        # What NVML does not list as a whole GPU: AMD's, and parts of NVIDIA's.
        if _AMD_DRIVER.exists() or os.environ.get(VISIBLE, "").startswith("MIG-"):
            import torch

            if torch.cuda.is_available():
                return _Gpu(torch.cuda.get_device_name(0), "", torch.cuda.is_bf16_supported())
        return None


def _free(name: str, default: int, description: str, low: int, high: int) -> Tunable:
    return Tunable(name, default, description, low, high, rebuild=False)


def _choice(name: str, choices: tuple[str, ...] | tuple[bool, ...], description: str) -> Tunable:
    """The first choice is the default."""
    return Tunable(name, choices[0], description, choices=choices, rebuild=False)
