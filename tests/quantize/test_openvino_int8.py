"""OpenVINO reads the quantized files: same logits, and no float layer where INT8 was meant."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import openvino
import pytest

from tests.quantize.conftest import Quantized
from tests.quantize.networks import RESOLUTIONS, images, relative_error

FAMILIES = tuple(RESOLUTIONS)
# OpenVINO's default on many processors is bf16.
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def _layers(compiled: openvino.CompiledModel) -> list[tuple[str, str, str]]:
    """Type, precision and name of every layer that OpenVINO really runs."""
    layers = []
    for operation in compiled.get_runtime_model().get_ordered_ops():
        information = operation.get_rt_info()
        kind, precision = (
            information[key].astype(str) for key in ("layerType", "runtimePrecision")
        )
        layers.append((kind, precision, operation.get_friendly_name()))
    return layers


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_logits_are_those_of_onnxruntime(
    quantized: Callable[[str], Quantized], family: str
) -> None:
    network = quantized(family)
    inputs = images(8, 3, network.resolution)
    compiled = openvino.Core().compile_model(network.fp32, "CPU", OPTIONS)
    session = onnxruntime.InferenceSession(network.fp32, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"images": inputs})[0]
    np.testing.assert_allclose(
        compiled({"images": inputs})[0], expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_logits_agree_with_fp32(quantized: Callable[[str], Quantized], family: str) -> None:
    network = quantized(family)
    inputs = images(100, 3, network.resolution)
    core = openvino.Core()
    int8 = core.compile_model(network.int8, "CPU", OPTIONS)({"images": inputs})[0]
    fp32 = core.compile_model(network.fp32, "CPU", OPTIONS)({"images": inputs})[0]
    assert relative_error(int8, fp32) < 0.4


@pytest.mark.parametrize("family", FAMILIES)
def test_every_convolution_runs_in_int8_and_no_residual_add_is_left(
    quantized: Callable[[str], Quantized], family: str
) -> None:
    layers = _layers(openvino.Core().compile_model(quantized(family).int8, "CPU", OPTIONS))
    heavy = [layer for layer in layers if layer[0] in ("Convolution", "FullyConnected", "Reduce")]
    assert len(heavy) > 20
    assert [layer for layer in heavy if layer[1] not in ("i8", "u8")] == []
    pools = [layer for layer in layers if layer[0] == "Pooling" and "MaxPool" in layer[2]]
    assert [layer for layer in pools if layer[1] not in ("i8", "u8")] == []
    floats = [layer for layer in layers if layer[0] == "Eltwise" and layer[1] not in ("i8", "u8")]
    assert floats == []
