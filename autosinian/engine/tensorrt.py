"""NVIDIA's TensorRT: fp32, fp16, and int8 from Q/DQ ONNX, on the GPU that this process sees."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.engine.engine_file import (
    EngineHeader,
    write_engine_file,
)
from autosinian.engine.gpu import Gpu, require_gpu
from autosinian.engine.network_input import NetworkInput
from autosinian.engine.options import complete_options, read_for
from autosinian.engine.protocol import Tunable
from autosinian.engine.tensorrt_versions import installed, load
from autosinian.engine.timing_cache import timing_cache_path
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig


class TensorRtEngine:
    """TensorRT 8.6, 10, 11 or for RTX, whichever is installed.

    The library is imported at the first build or open; every other question is answered by the
    driver and by what is installed.
    """

    name = "tensorrt"

    def tunables(self) -> tuple[Tunable, ...]:
        """Streams, how samples reach the GPU, graphs, and how much the builder tries."""
        return (
            Tunable("streams", 1, "batches inferred at once", 1, 8, rebuild=False),
            Tunable(
                "copy_streams",
                0,
                "streams that gather the next batch while others infer; with 0 each inference"
                " stream gathers its own",
                0,
                4,
                rebuild=False,
            ),
            Tunable(
                "samples",
                "host",
                "where samples lie before they are inferred: in pinned host memory, from where the"
                " GPU fetches them, or in the GPU's own",
                choices=("host", "device"),
                rebuild=False,
            ),
            Tunable(
                "graphs",
                True,
                "start a whole batch by one call, as a CUDA graph captured beforehand",
                choices=(True, False),
                rebuild=False,
            ),
            Tunable(
                "partial_batch",
                "pad",
                "a batch that is not full is padded, or runs as the next power of two in an engine"
                " of dynamic batch size (pays in the Server scenario)",
                choices=("pad", "ladder"),
            ),
            Tunable(
                "optimization_level",
                3,
                "how long the builder tries: 1 builds in half the time of 3",
                0,
                5,
            ),
            Tunable(
                "aux_streams", 0, "streams that independent layers of one batch may run in", 0, 7
            ),
            Tunable(
                "int8_mode",
                "explicit",
                "int8 where the file has Q/DQ, or wherever TensorRT 8 likes it from the same"
                " scales",
                choices=("explicit", "implicit"),
                rounds=True,
            ),
        )

    def precisions(self) -> tuple[str, ...]:
        """`fp32`; `fp16` from Volta on (and Pascal's P100); `int8` where there are dot products.

        https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html
        """
        capability = self._gpu().compute_capability
        fp16 = capability >= (7, 0) or capability in ((5, 3), (6, 0), (6, 2))
        int8 = capability >= (6, 1) and capability != (6, 2)
        return ("fp32", *(("fp16",) if fp16 else ()), *(("int8",) if int8 else ()))

    def device(self) -> str:
        """The GPU's name."""
        return self._gpu().name

    def versions(self) -> Mapping[str, str]:
        """TensorRT's version, the GPU, its compute capability, and the driver's version."""
        library, gpu = installed(), self._gpu()
        return {
            library.name: library.version,
            "gpu": gpu.name,
            "compute_capability": ".".join(map(str, gpu.compute_capability)),
            "driver": gpu.driver,
        }

    def uses_gpu(self) -> bool:
        """Always."""
        return True

    def slow_imports(self) -> tuple[str, ...]:
        """TensorRT's module takes a second or more, and touches no GPU."""
        return (installed().module,)

    def warm(self) -> None:
        """Loads TensorRT and makes the GPU's context."""
        from autosinian.engine import cuda

        load(installed())
        cuda.start()

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Compile `model` for `config.batch_size` and write it to `engine_file`.

        What was timed for it goes to a file beside it, which later builds read.
        """
        from autosinian.engine.tensorrt_build import BuildSpec, build, classifier_shape
        from autosinian.quantize.onnx_file import load_onnx

        library, gpu = installed(), self._gpu()
        options = complete_options(self, config)
        if precision not in self.precisions():
            known = ", ".join(self.precisions())
            raise InputError(
                f"precision must be one that {gpu.name} runs ({known}), got {precision!r}"
            )
        network = load_onnx(model)
        shape, classes = classifier_shape(network, model)
        implicit = precision == "int8" and options["int8_mode"] == "implicit"
        if implicit and not library.implicit_int8:
            raise TrialFailure(
                "build",
                f"int8_mode implicit needs TensorRT 8, but {library.title} is installed; "
                "take explicit",
            )
        spec = BuildSpec(
            precision=precision,
            batch_size=config.batch_size,
            ladder=options["partial_batch"] == "ladder" and config.batch_size > 1,
            implicit=implicit,
            optimization_level=options["optimization_level"],
            aux_streams=options["aux_streams"],
            capability=gpu.compute_capability,
            timing_cache=timing_cache_path(
                engine_file.parent, gpu.name, f"{library.name}-{library.version}"
            ),
        )
        built = build(network, model, shape, spec, library)
        header = EngineHeader(
            engine=self.name,
            device=gpu.name,
            versions=dict(self.versions()),
            model_sha256=file_sha256(model),
            precision=precision,
            batch_size=config.batch_size,
            options=options,
            input_shape=shape,
            classes=classes,
        )
        details = {"input": asdict(built.input), "ladder": spec.ladder}
        sections = {"details": json.dumps(details).encode(), "engine": built.engine}
        write_engine_file(engine_file, header, sections)

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        """Load `engine_file` with the streams, samples and graphs of `config`."""
        header, sections, options = read_for(self, engine_file, config)
        try:
            from autosinian.engine.tensorrt_session import open_session
        except ImportError as error:
            raise InputError(
                f"cuda-bindings must be installed for the engine tensorrt ({error}); "
                "`pip install autosinian[tensorrt]`"
            ) from error
        details = json.loads(sections["details"])
        given = details["input"]
        return open_session(
            sections["engine"],
            engine_file,
            NetworkInput(given["kind"], tuple(given["shape"]), given["scale"]),
            installed(),
            batch_size=header.batch_size,
            classes=header.classes,
            ladder=details["ladder"],
            options=options,
        )

    def _gpu(self) -> Gpu:
        return require_gpu()[0]
