import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.lint import lint_onnx
from autosinian.quantize.placement import quantized_tensors
from autosinian.quantize.qdq import quantize
from autosinian.quantize.ranges import Ranges
from autosinian.quantize.simplify import initializers
from autosinian.quantize.threshold import METHODS
from tests.quantize.conftest import Quantized
from tests.quantize.networks import RESOLUTIONS, images, relative_error


def _logits(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": inputs})[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_shallow_network_keeps_its_logits(plain: Path, tmp_path: Path, method: str) -> None:
    ranges = collect_ranges(plain, images(64, 1, 16), method)
    quantize(plain, ranges, tmp_path / "int8.onnx")
    inputs = images(100, 2, 16)
    found = _logits(tmp_path / "int8.onnx", inputs)
    assert relative_error(found, _logits(plain, inputs)) < 0.15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", list(RESOLUTIONS))
def test_subnets_keep_most_of_their_logits(
    quantized: Callable[[str], Quantized], family: str, method: str, tmp_path: Path
) -> None:
    network = quantized(family)
    ranges = collect_ranges(network.fp32, network.calibration, method)
    quantize(network.fp32, ranges, tmp_path / "int8.onnx")
    inputs = images(100, 2, network.resolution)
    found = _logits(tmp_path / "int8.onnx", inputs)
    assert relative_error(found, _logits(network.fp32, inputs)) < 0.4


@pytest.mark.parametrize("family", list(RESOLUTIONS))
def test_quantized_subnets_pass_the_lint(
    quantized: Callable[[str], Quantized], family: str
) -> None:
    assert lint_onnx(quantized(family).int8) == []


@pytest.mark.parametrize("family", list(RESOLUTIONS))
def test_equal_arguments_give_equal_bytes(
    quantized: Callable[[str], Quantized], family: str, tmp_path: Path
) -> None:
    network = quantized(family)
    quantize(network.fp32, network.ranges, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == network.int8.read_bytes()


def test_activation_scales_are_those_given_and_weights_are_per_channel(
    quantized: Callable[[str], Quantized],
) -> None:
    network = quantized("proxyless")
    graph = onnx.load(network.int8).graph
    constants = initializers(graph)
    source = initializers(onnx.load(network.fp32).graph)
    seen = {}
    for node in graph.node:
        scale = constants[node.input[1]] if "Linear" in node.op_type else None
        if node.op_type == "QuantizeLinear":
            assert scale is not None and scale.shape == ()
            seen[node.input[0]] = np.float32(scale)
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            assert scale is not None
            weight = source[node.input[0].removesuffix("_quantized")].astype(np.float64)
            channels = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
            np.testing.assert_allclose(scale.astype(np.float64), channels / 127, rtol=1e-5)
            assert np.abs(constants[node.input[0]].astype(int)).max() <= 127
    assert seen == dict(network.ranges.scales)


def test_additions_of_a_constant_and_biases_stay_float(
    quantized: Callable[[str], Quantized],
) -> None:
    network = quantized("mobilenet_v3")
    graph = onnx.load(network.int8).graph
    assert {item.data_type for item in graph.initializer} == {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT8,
    }
    producers = {name: node.op_type for node in graph.node for name in node.output}
    constants = initializers(graph)
    additions = {"residual": 0, "constant": 0}
    for node in graph.node:
        if node.op_type == "Add":
            constant = any(name in constants for name in node.input)
            kinds = {producers.get(name) for name in node.input}
            assert ("DequantizeLinear" in kinds) != constant
            additions["constant" if constant else "residual"] += 1
    assert additions["residual"] == 6
    assert additions["constant"] > 6


def test_missing_ranges_are_bad_input(plain: Path, tmp_path: Path) -> None:
    names = quantized_tensors(onnx.load(plain).graph)
    ranges = Ranges("minmax", {name: np.float32(1) for name in names[1:]})
    with pytest.raises(InputError, match=f"`{names[0]}`"):
        quantize(plain, ranges, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_unusable_scales_are_bad_input(plain: Path, tmp_path: Path) -> None:
    names = quantized_tensors(onnx.load(plain).graph)
    for bad in (0.0, -1.0, math.nan, math.inf):
        ranges = Ranges("minmax", {name: np.float32(bad) for name in names})
        with pytest.raises(InputError, match="above 0"):
            quantize(plain, ranges, tmp_path / "int8.onnx")
