import numpy as np
import onnx
import pytest
from onnx import TensorProto

from autosinian.quantize.half import SMALLEST_NORMAL, smallest_scale, to_half
from autosinian.quantize.int8_input import int8_input
from tests.engine.gpu_models import mobile_model, quantized, reference_logits, residual_model
from tests.quantize.test_int8_input import run

SIZE = {residual_model: 24, mobile_model: 20}


def samples(size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(4).standard_normal((4, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("network", [residual_model, mobile_model])
def test_a_float_network_in_fp16_gives_nearly_its_logits(network: object) -> None:
    assert callable(network)
    model = network()
    half = to_half(model)
    inputs = samples(SIZE[network])
    wanted = reference_logits(model, inputs)
    given = run(half, inputs.astype(np.float16))
    assert given.dtype == np.float32
    assert np.abs(given - wanted).max() <= 5e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("network", [residual_model, mobile_model])
def test_a_quantized_network_keeps_its_int8_and_is_fp16_between(network: object) -> None:
    assert callable(network)
    model = quantized(network())
    cut = int8_input(model)
    assert cut is not None
    half = to_half(cut[0])
    inputs = np.clip(samples(SIZE[network]), -127 * cut[1], 127 * cut[1])
    whole = np.rint(inputs / np.float32(cut[1])).astype(np.int8)
    wanted = reference_logits(model, inputs)
    # A value that fp16 moves over a rounding edge is one int8 step away.
    assert np.abs(run(half, whole) - wanted).max() <= 4e-2 * np.abs(wanted).max()
    counts = [
        [node.op_type for node in given.graph.node].count("DequantizeLinear")
        for given in (cut[0], half)
    ]
    assert counts[0] == counts[1]


def test_nothing_is_left_in_fp32_but_the_output() -> None:
    half = to_half(residual_model())
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert {item.data_type for item in half.graph.initializer} == {TensorProto.FLOAT16}
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert [node.output[0] for node in casts] == ["logits"]


def test_weights_beyond_fp16_are_clipped_not_infinite() -> None:
    model = residual_model()
    item = model.graph.initializer[0]
    value = onnx.numpy_helper.to_array(item).copy()
    value.flat[0] = 1e9
    item.CopyFrom(onnx.numpy_helper.from_array(value, item.name))
    half = onnx.numpy_helper.to_array(to_half(model).graph.initializer[0])
    assert half.flat[0] == np.finfo(np.float16).max


def test_the_given_model_is_left_as_it_was() -> None:
    model = quantized(residual_model())
    before = model.SerializeToString()
    to_half(model)
    assert model.SerializeToString() == before


def test_the_smallest_scale_tells_whether_fp16_can_hold_them() -> None:
    assert smallest_scale(residual_model()) == float("inf")
    assert SMALLEST_NORMAL < smallest_scale(quantized(residual_model())) < 1
