"""TensorRT-RTX parses and builds every file, without a GPU; its warnings are errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.qdq import quantize
from tests.quantize.conftest import Quantized
from tests.quantize.networks import RESOLUTIONS, images

trt: Any = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="needs the extra `tensorrt-rtx`: pip install .[tensorrt-rtx]"
)


def _build(path: Path, resolution: int) -> tuple[int, list[str]]:
    """Size of the engine in bytes (0: not built) and every message from warning up."""
    messages: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.WARNING:
                messages.append(message)

    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        return 0, messages
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    shape = (3, resolution, resolution)
    profile.set_shape("images", (1, *shape), (8, *shape), (32, *shape))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    return (engine.nbytes if engine is not None else 0), messages


@pytest.mark.parametrize("family", list(RESOLUTIONS))
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_subnets_build_without_a_warning(
    quantized: Callable[[str], Quantized], family: str, precision: str
) -> None:
    network = quantized(family)
    size, messages = _build(getattr(network, precision), network.resolution)
    assert messages == []
    assert size > 0


def test_a_file_with_unsigned_activations_would_be_noticed(plain: Path, tmp_path: Path) -> None:
    import numpy as np
    import onnx

    quantize(plain, collect_ranges(plain, images(4, 0, 16), "minmax"), tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    for item in model.graph.initializer:
        if item.name == node.input[2]:
            item.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.uint8), item.name))
    onnx.save(model, tmp_path / "uint8.onnx")
    _, messages = _build(tmp_path / "uint8.onnx", 16)
    assert messages
