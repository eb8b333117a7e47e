from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autosinian.quantize.complete import complete
from autosinian.quantize.strip import strip_qdq
from tests.engine.gpu_models import mobile_model, quantized, residual_model
from tests.quantize.conftest import Quantized


@pytest.mark.parametrize("network", [residual_model, mobile_model])
def test_every_convolution_of_a_small_network_has_a_range_on_both_sides(
    network: Callable[[], onnx.ModelProto],
) -> None:
    plain, scales = strip_qdq(quantized(network()))
    assert without_range(plain, complete(plain, scales)) == []


@pytest.mark.parametrize("family", ["proxyless", "mobilenet_v3", "resnet"])
def test_every_convolution_of_a_subnet_has_a_range_on_both_sides(
    quantized: Callable[[str], Quantized],
    family: str,
) -> None:
    plain, scales = strip_qdq(onnx.load(quantized(family).int8))
    completed = complete(plain, scales)
    assert {name: completed[name] for name in scales} == scales
    assert without_range(plain, completed) == []


def without_range(model: onnx.ModelProto, scales: dict[str, float]) -> list[str]:
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and not {node.input[0], node.output[0]} <= set(scales)
    ]


@pytest.mark.parametrize(("given", "wanted"), [(0.001, 3 / 127), (0.1, 0.1)])
def test_h_swish_reads_at_least_what_it_does_not_cut_off(given: float, wanted: float) -> None:
    one_node = chain([helper.make_node("HardSwish", ["x"], ["y"])])
    four_nodes = chain(
        [
            helper.make_node("Add", ["x", "three"], ["a"]),
            helper.make_node("Clip", ["a", "zero", "six"], ["c"]),
            helper.make_node("Mul", ["x", "c"], ["m"]),
            helper.make_node("Div", ["m", "six"], ["y"]),
        ]
    )
    for model in (one_node, four_nodes):
        assert complete(model, {"y": given})["x"] == pytest.approx(wanted)


def test_a_gate_reads_what_it_does_not_cut_off() -> None:
    model = chain(
        [
            helper.make_node("Add", ["x", "three"], ["a"]),
            helper.make_node("Clip", ["a", "zero", "six"], ["c"]),
            helper.make_node("Div", ["c", "six"], ["y"]),
        ]
    )
    found = complete(model, {})
    assert found["x"] == pytest.approx(3 / 127)
    assert found["y"] == pytest.approx(1 / 127)


def test_pooling_stays_within_what_it_reads_and_relu_asks_for_what_it_gives() -> None:
    model = chain(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2]),
        ]
    )
    assert complete(model, {"r": 0.5}) == {"r": 0.5, "x": 0.5, "y": 0.5}


def test_nothing_is_made_up() -> None:
    model = chain([helper.make_node("Sigmoid", ["x"], ["y"])])
    assert complete(model, {}) == {}


def chain(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """`x`, made by a convolution, through `nodes` to `y`."""
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    scalars = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("zero", 0), ("three", 3), ("six", 6))
    ]
    shape: list[str | int | None] = ["N", 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "w"], ["x"]), *nodes],
        "chain",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight, *scalars],
    )
    return helper.make_model(graph)
