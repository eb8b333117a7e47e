import numpy as np
import onnx
import pytest

from autosinian.errors import InputError
from autosinian.quantize.strip import strip_qdq
from tests.engine.gpu_models import mobile_model, quantized, reference_logits, residual_model
from tests.quantize.test_int8_input import run


@pytest.mark.parametrize("network", [residual_model, mobile_model])
def test_the_float_network_is_the_one_that_was_quantized(network: object) -> None:
    assert callable(network)
    model = network()
    plain, _ = strip_qdq(quantized(model))
    onnx.checker.check_model(plain)
    operators = [node.op_type for node in plain.graph.node]
    assert operators == [node.op_type for node in model.graph.node]
    size = 24 if network is residual_model else 20
    inputs = np.random.default_rng(2).standard_normal((4, 3, size, size)).astype(np.float32)
    wanted = reference_logits(model, inputs)
    # Weights went through int8, activations did not.
    assert np.abs(run(plain, inputs) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_each_quantized_tensor_has_its_scale() -> None:
    model = quantized(residual_model())
    _, scales = strip_qdq(model)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    wanted = {
        node.input[0]: float(constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert scales == wanted
    assert scales


def test_weights_are_those_that_the_int8_ones_stand_for() -> None:
    model = residual_model()
    plain, _ = strip_qdq(quantized(model))
    before = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    after = {item.name: onnx.numpy_helper.to_array(item) for item in plain.graph.initializer}
    pairs = zip(model.graph.node, plain.graph.node, strict=True)
    checked = 0
    for old, new in pairs:
        if old.op_type == "Conv":
            wanted, given = before[old.input[1]], after[new.input[1]]
            step = np.abs(wanted).reshape(len(wanted), -1).max(axis=1) / 127
            error = np.abs(given - wanted).reshape(len(wanted), -1).max(axis=1)
            assert (error <= 0.51 * step).all()
            checked += 1
    assert checked == 5


def test_a_network_without_qdq_stays_as_it_is() -> None:
    plain, scales = strip_qdq(residual_model())
    assert scales == {}
    assert plain.graph.node == residual_model().graph.node


def test_two_scales_for_one_tensor_are_bad_input() -> None:
    model = quantized(residual_model())
    other = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "other_scale")
    model.graph.initializer.append(other)
    inputs = ["images", "other_scale", "images_zero"]
    model.graph.node.append(onnx.helper.make_node("QuantizeLinear", inputs, ["second"], "second"))
    with pytest.raises(InputError, match="the Q nodes of `images` must have one scale"):
        strip_qdq(model)
