"""OpenVINO on the processor: fp32, bf16 where the processor has it, and int8 from Q/DQ ONNX.

An engine file keeps what `export_model` gives. Importing it restores neither streams nor
precision by itself (2026.4 takes one stream, and bf16 where the processor has it), so each is given
again at import; then speed and logits are those of the network that was compiled.
"""

import functools
import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.engine.engine_file import (
    EngineHeader,
    write_engine_file,
)
from autosinian.engine.openvino_session import OpenVinoSession
from autosinian.engine.options import complete_options, read_for
from autosinian.engine.processor import processor_features, processor_name, usable_cores
from autosinian.engine.protocol import Tunable
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig

# Left to itself OpenVINO runs float models in bf16 where the processor has it, so the precision
# of whatever is not quantized is always said.
_PRECISION_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


class OpenVinoEngine:
    """OpenVINO's CPU plug-in; openvino itself is imported at the first build, open or
    `precisions`."""

    name = "openvino"

    def tunables(self) -> tuple[Tunable, ...]:
        """Streams, threads, pinning, and how partial batches run."""
        cores = usable_cores()
        return (
            Tunable("streams", 1, "batches inferred at once", 1, cores, rebuild=False),
            Tunable("threads", cores, "threads shared by all streams", 1, cores, rebuild=False),
            Tunable(
                "cpu_pinning", True, "bind threads to cores", choices=(True, False), rebuild=False
            ),
            Tunable(
                "partial_batch",
                "pad",
                "a batch that is not full is padded, or runs in a second network of dynamic batch"
                " (pays in the Server scenario)",
                choices=("pad", "dynamic"),
            ),
        )

    def precisions(self) -> tuple[str, ...]:
        """`fp32`, `bf16` where the processor computes in it, `int8`."""
        capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        known = (("fp32", "FP32"), ("bf16", "BF16"), ("int8", "INT8"))
        return tuple(name for name, capability in known if capability in capabilities)

    def device(self) -> str:
        """The processor's model."""
        return processor_name()

    def versions(self) -> Mapping[str, str]:
        """OpenVINO's version, the processor's model and its instruction sets."""
        return {
            "openvino": version("openvino"),
            "processor": processor_name(),
            "processor_features": processor_features(),
        }

    def uses_gpu(self) -> bool:
        """Never: the CPU plug-in alone is used."""
        return False

    def slow_imports(self) -> tuple[str, ...]:
        """None: a worker that does without torch starts quickly."""
        return ()

    def warm(self) -> None:
        """Loads OpenVINO."""
        import openvino  # noqa: F401

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Compile `model` for `config.batch_size` and write it to `engine_file`."""
        options = complete_options(self, config)
        if precision not in self.precisions():
            known = ", ".join(self.precisions())
            raise InputError(
                f"precision must be one that this processor runs ({known}), got {precision!r}"
            )
        network = _read(model)
        shape, classes = _classifier_shape(network, model)
        properties = _properties(precision, options)
        try:
            network.reshape([config.batch_size, *shape])
            sections = {"static": _export(network, properties)}
            if options["partial_batch"] == "dynamic" and config.batch_size > 1:
                import openvino

                batch = openvino.Dimension(1, config.batch_size)
                network = _read(model)
                network.reshape(openvino.PartialShape([batch, *shape]))
                sections["dynamic"] = _export(network, properties)
        except RuntimeError as error:
            raise TrialFailure(
                "build", f"OpenVINO cannot compile {model}: {_told(error)}"
            ) from error
        header = EngineHeader(
            engine=self.name,
            device=self.device(),
            versions=dict(self.versions()),
            model_sha256=file_sha256(model),
            precision=precision,
            batch_size=config.batch_size,
            options=options,
            input_shape=shape,
            classes=classes,
        )
        write_engine_file(engine_file, header, sections)

    def open(self, engine_file: Path, config: EngineConfig) -> OpenVinoSession:
        """Load `engine_file` with the streams, threads and pinning of `config`."""
        header, sections, options = read_for(self, engine_file, config)
        properties = _properties(header.precision, options)
        try:
            networks = {
                name: _core().import_model(io.BytesIO(content), "CPU", properties)
                for name, content in sections.items()
            }
        except RuntimeError as error:
            raise InputError(
                f"engine file {engine_file} is refused by OpenVINO ({_told(error)}); build it again"
            ) from error
        return OpenVinoSession(
            networks["static"],
            networks.get("dynamic"),
            batch_size=header.batch_size,
            input_shape=header.input_shape,
            classes=header.classes,
        )


def _properties(precision: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _PRECISION_HINT[precision],
        "NUM_STREAMS": options["streams"],
        "INFERENCE_NUM_THREADS": options["threads"],
        "ENABLE_CPU_PINNING": options["cpu_pinning"],
    }


def _read(model: Path) -> Any:
    if not model.is_file():
        raise InputError(f"model {model} must be an ONNX file, but there is no such file")
    try:
        return _core().read_model(model)
    except RuntimeError as error:
        if "OpConversionFailure" in str(error) or "wasn't fully converted" in str(error):
            raise TrialFailure(
                "build", f"OpenVINO does not know every operator of {model}: {_told(error)}"
            ) from error
        raise InputError(f"model {model} must be an ONNX file, but it cannot be parsed") from error


def _classifier_shape(network: Any, model: Path) -> tuple[tuple[int, int, int], int]:
    """`C x H x W` and the number of classes of a network `N x C x H x W -> N x classes`."""
    if len(network.inputs) == 1 and len(network.outputs) == 1:
        given, result = network.input(0).partial_shape, network.output(0).partial_shape
        static = given.rank.is_static and result.rank.is_static
        if static and len(given) == 4 and len(result) == 2:
            sizes = (*list(given)[1:], list(result)[1])
            if all(size.is_static for size in sizes):
                channels, height, width, classes = (size.get_length() for size in sizes)
                return (channels, height, width), classes
    raise InputError(
        f"model {model} must have one input N x C x H x W and one output N x classes, got "
        f"inputs {[str(port.partial_shape) for port in network.inputs]}, "
        f"outputs {[str(port.partial_shape) for port in network.outputs]}"
    )


def _export(network: Any, properties: Mapping[str, Any]) -> bytes:
    compiled = _core().compile_model(network, "CPU", dict(properties))
    exported = compiled.export_model()
    return bytes(exported.getvalue() if hasattr(exported, "getvalue") else exported)


def _told(error: BaseException) -> str:
    """The last telling line of OpenVINO's many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
