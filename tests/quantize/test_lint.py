from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from autosinian.quantize.lint import lint, lint_onnx
from tests.quantize.conftest import Quantized


@pytest.fixture
def model(quantized: Callable[[str], Quantized]) -> onnx.ModelProto:
    return onnx.load(quantized("proxyless").int8)


def _node(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    node: onnx.NodeProto = next(n for n in model.graph.node if n.op_type == operator)
    return node


def _replace_constant(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> None:
    for item in model.graph.initializer:
        if item.name == name:
            item.CopyFrom(numpy_helper.from_array(value, name))


def _assert_told(model: onnx.ModelProto, *words: str) -> None:
    problems = lint(model)
    assert any(all(word in problem for word in words) for problem in problems), problems
    assert not any("\n" in problem for problem in problems)


def test_a_good_file_has_no_problems(quantized: Callable[[str], Quantized]) -> None:
    assert lint_onnx(quantized("proxyless").int8) == []
    assert lint_onnx(quantized("proxyless").fp32) == []


def test_unsigned_zero_points_are_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    _replace_constant(model, node.input[2], np.array(0, np.uint8))
    _assert_told(model, node.name, "uint8")


def test_zero_points_other_than_zero_are_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    _replace_constant(model, node.input[2], np.array(3, np.int8))
    _assert_told(model, node.name, "symmetric")


def test_a_missing_zero_point_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "DequantizeLinear")
    node.input.pop()
    _assert_told(model, node.name, "explicit zero point")


def test_a_zero_point_shared_through_identity_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    model.graph.node.insert(0, helper.make_node("Identity", [node.input[2]], ["shared"]))
    node.input[2] = "shared"
    _assert_told(model, node.name, "no node between")


def test_a_scale_that_is_not_positive_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    _replace_constant(model, node.input[1], np.array(0, np.float32))
    _assert_told(model, node.name, "positive")


def test_per_channel_activations_are_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    _replace_constant(model, node.input[1], np.ones(3, np.float32))
    _assert_told(model, node.name, "one scale")


def test_a_quantize_without_dequantize_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    following = next(item for item in model.graph.node if item.input[0] == node.output[0])
    readers = [item for item in model.graph.node if following.output[0] in item.input]
    model.graph.node.remove(following)
    for reader in readers:
        reader.input[0] = node.output[0]
    _assert_told(model, node.name, "must feed DequantizeLinear")
    _assert_told(model, readers[0].name, "must run in INT8")


def test_a_dequantize_with_another_scale_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "QuantizeLinear")
    following = next(item for item in model.graph.node if item.input[0] == node.output[0])
    other = numpy_helper.from_array(np.array(123.0, np.float32), "other")
    model.graph.initializer.append(other)
    following.input[1] = "other"
    _assert_told(model, following.name, "scale of its QuantizeLinear")


def test_a_convolution_in_float_is_told(model: onnx.ModelProto) -> None:
    node = _node(model, "Conv")
    node.input[0] = "images"
    _assert_told(model, node.name, "`images` is float")


def test_integer_operators_are_told(model: onnx.ModelProto) -> None:
    _node(model, "Conv").op_type = "QLinearConv"
    _assert_told(model, "QLinearConv")


def test_reduce_mean_with_axes_as_an_input_is_told(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images", "axes"], ["logits"], "mean")],
        "graph",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3, 1, 1])],
        [numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "model.onnx")
    assert lint_onnx(tmp_path / "model.onnx") == [
        "ReduceMean `mean` must have its axes as an attribute (opset <= 17)"
    ]
