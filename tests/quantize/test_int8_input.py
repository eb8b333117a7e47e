from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from autosinian.quantize.int8_input import int8_input
from tests.engine.gpu_models import mobile_model, quantized, residual_model


def run(model: onnx.ModelProto, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    logits: NDArray[np.float32] = session.run(None, {"images": inputs})[0]
    return logits


@pytest.mark.parametrize("network", [residual_model, mobile_model])
def test_int8_samples_give_the_logits_of_the_float_ones(network: object, tmp_path: Path) -> None:
    assert callable(network)
    model = quantized(network())
    given = int8_input(model)
    assert given is not None
    cut, scale = given
    onnx.checker.check_model(cut)
    size = 24 if network is residual_model else 20
    samples = np.random.default_rng(1).standard_normal((4, 3, size, size)).astype(np.float32)
    samples = np.clip(samples, -127 * scale, 127 * scale)
    whole = np.rint(samples / np.float32(scale)).astype(np.int8)
    np.testing.assert_array_equal(run(cut, whole), run(model, samples))


def test_the_given_model_is_left_as_it_was() -> None:
    model = quantized(residual_model())
    before = model.SerializeToString()
    int8_input(model)
    assert model.SerializeToString() == before


def test_a_float_network_keeps_its_float_input() -> None:
    assert int8_input(residual_model()) is None


def test_an_input_that_something_reads_in_float_too_is_kept() -> None:
    model = quantized(residual_model())
    model.graph.node.append(onnx.helper.make_node("Relu", ["images"], ["other"]))
    assert int8_input(model) is None


def test_an_input_with_a_zero_point_is_kept() -> None:
    model = quantized(residual_model())
    for item in model.graph.initializer:
        if item.name == "images_zero":
            item.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.int8), item.name))
    assert int8_input(model) is None
