"""What TensorRT makes of our networks, for five generations of GPUs, without one.

TensorRT-RTX's builder tells each layer of the engine: its kind, the ONNX nodes in it, and the
types that it reads and writes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="needs the extra `tensorrt-rtx`: pip install .[tensorrt-rtx]"
)

from autosinian.detection.checkpoint import Detector
from autosinian.detection.export import OUTPUT_NAMES
from autosinian.detection.joined import join_outputs
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.detection.quantization import QuantizationOptions, quantize_on
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.export import export_named
from autosinian.encodings.qdq import quantize_onnx
from autosinian.engine.tensorrt_build import (
    BuildSpec,
    build,
    classifier_shape,
    variants,
    with_batch,
)
from autosinian.engine.tensorrt_versions import Library
from autosinian.errors import InputError, TrialFailure
from tests.engine.gpu_models import mobile_model, residual_model, written
from tests.engine.gpu_models import quantized as with_qdq
from tests.engine.rtx_layers import GENERATIONS, Layer, built, nodes_of, rtx
from tests.engine.small_models import write_conv_model, write_unknown_operator_model
from tests.quantize.conftest import Quantized, quantized  # noqa: F401  (a fixture)

FAMILIES = ("proxyless", "mobilenet_v3", "resnet")
TURING = (7, 5)
# Convolutions are correlations to it, and what it fuses around a 1x1 one a runtime fusion.
MATRIX_KINDS = ("correlation", "convolution", "gemm", "runtime_fusion")
TENSORRT_8 = Library("tensorrt", "tensorrt", "8.6.1")


def matrix_layers(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer.kind in MATRIX_KINDS]


def alone(path: Path, layers: list[Layer]) -> list[Layer]:
    """Layers that quantize and dequantize and do nothing between."""
    first = set(nodes_of(path, "QuantizeLinear"))
    second = set(nodes_of(path, "DequantizeLinear"))
    return [
        layer
        for layer in layers
        if set(layer.nodes) <= first | second
        and first.intersection(layer.nodes)
        and second.intersection(layer.nodes)
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("capability", GENERATIONS[1:])
def test_every_convolution_of_an_int8_engine_reads_int8(
    quantized: Callable[[str], Quantized],  # noqa: F811
    family: str,
    capability: tuple[int, int],
) -> None:
    path = quantized(family).int8
    engine, layers = built(path, "int8", capability)
    assert engine.input.kind == "int8"
    found = matrix_layers(layers)
    covered = {name for layer in found for name in layer.nodes}
    assert set(nodes_of(path, "Conv", "Gemm", "MatMul")) <= covered
    for layer in found:
        assert set(layer.inputs) == {"Int8"}, layer
        assert layer.constants[0] == "Int8", layer
    assert alone(path, layers) == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("capability", GENERATIONS)
def test_every_convolution_of_an_fp16_engine_reads_fp16(
    quantized: Callable[[str], Quantized],  # noqa: F811
    family: str,
    capability: tuple[int, int],
) -> None:
    path = quantized(family).fp32
    engine, layers = built(path, "fp16", capability, ladder=True)
    assert engine.input.kind == "float16"
    assert engine.warnings == ()
    found = matrix_layers(layers)
    covered = {name for layer in found for name in layer.nodes}
    assert set(nodes_of(path, "Conv", "Gemm", "MatMul")) <= covered
    for layer in found:
        assert set(layer.inputs) == {"Half"}, layer


@pytest.mark.parametrize("family", FAMILIES)
def test_an_int8_engine_for_turing_builds_but_rtx_has_int8_for_its_classifier_alone(
    quantized: Callable[[str], Quantized],  # noqa: F811
    family: str,
) -> None:
    engine, layers = built(quantized(family).int8, "int8", TURING)
    assert len(engine.engine) > 0
    found = matrix_layers(layers)
    assert {layer.inputs[0] for layer in found if layer.kind == "gemm"} == {"Int8"}
    # TensorRT-RTX 1.7 computes convolutions in fp16 there; the full TensorRT does not.
    assert {layer.inputs[0] for layer in found if layer.kind != "gemm"} == {"Half"}


def test_a_layer_that_only_quantizes_and_dequantizes_would_be_noticed(tmp_path: Path) -> None:
    model = residual_model()
    path = written(with_qdq(model), tmp_path / "model.onnx")
    _, layers = built(path, "int8", TURING)
    assert alone(path, layers)


@pytest.mark.parametrize("network", [residual_model, mobile_model])
@pytest.mark.parametrize("ladder", [False, True])
def test_small_networks_build_in_every_precision(
    network: Callable[[], onnx.ModelProto], ladder: bool, tmp_path: Path
) -> None:
    plain = written(network(), tmp_path / "plain.onnx")
    int8 = written(with_qdq(network()), tmp_path / "int8.onnx")
    kinds = [
        built(path, precision, (8, 9), ladder=ladder)[0].input.kind
        for precision, path in (("fp32", plain), ("fp16", plain), ("int8", int8))
    ]
    assert kinds == ["float32", "float16", "int8"]


@pytest.mark.parametrize("fused_adds", [False, True])
def test_a_detectors_convolutions_read_int8_but_for_its_exceptions(
    fused_adds: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = SsdResNet34(SsdConfig(classes=3, width=0.0625, image_size=300)).eval()
    images = np.random.default_rng(0).standard_normal((2, 3, 300, 300), np.float32)
    detector = quantize_on(Detector(network, ("cat", "dog")), [images], QuantizationOptions())
    encodings = detector.encodings(Exceptions(higher_precision=("loc.0", "model.layer1.0")))
    exported = export_named(detector.calibrated.network, (3, 300, 300), OUTPUT_NAMES)
    model = quantize_onnx(exported, encodings, engine="tensorrt", fused_adds=fused_adds)
    path = written(join_outputs(model), tmp_path / "detector.onnx")
    engine, layers = built(path, "int8", (8, 9))
    assert len(engine.engine) > 0
    convolutions = set(nodes_of(path, "Conv"))
    found = {
        name: layer.inputs[0]
        for layer in matrix_layers(layers)
        for name in convolutions.intersection(layer.nodes)
    }
    assert len(found) == 51
    assert {name for name, kind in found.items() if kind != "Int8"} == {
        "/layer1.0/Conv",
        "/loc.0/Conv",
    }
    implicit = variants(onnx.load(path), (3, 300, 300), spec("int8", implicit=True), TENSORRT_8)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {
        node.op_type for node in implicit[-1].model.graph.node
    }


def test_an_operator_that_tensorrt_does_not_know_is_named(tmp_path: Path) -> None:
    path = write_unknown_operator_model(tmp_path / "model.onnx")
    with pytest.raises(TrialFailure, match=r"does not take operator Frobnicate .*model\.onnx"):
        built(path, "fp32", (8, 9))


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.onnx"):
        built(tmp_path / "absent.onnx", "fp32", (8, 9))


def test_a_gpu_that_rtx_does_not_build_for_is_told_with_those_it_does(tmp_path: Path) -> None:
    path = written(residual_model(), tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"builds for .*SM89.*, but this GPU is SM90"):
        built(path, "fp32", (9, 0))


def test_a_network_that_is_no_classifier_is_bad_input(tmp_path: Path) -> None:
    model = residual_model()
    model.graph.output[0].type.tensor_type.shape.dim.add()
    with pytest.raises(InputError, match=r"odd\.onnx must have one float input"):
        classifier_shape(model, tmp_path / "odd.onnx")


def test_the_batch_is_one_number_or_any() -> None:
    fixed = with_batch(residual_model(), 7)
    assert [d.dim_value for d in fixed.graph.input[0].type.tensor_type.shape.dim] == [7, 3, 24, 24]
    assert fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 7
    free = with_batch(fixed, None)
    assert free.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    onnx.checker.check_model(free)


def test_every_convolution_tells_its_kernel_as_tensorrt_8_demands(tmp_path: Path) -> None:
    silent = onnx.load(write_conv_model(tmp_path / "model.onnx", int8=True))
    told = with_batch(silent, 2)
    shapes = {
        tuple(attribute.ints)
        for node in told.graph.node
        for attribute in node.attribute
        if attribute.name == "kernel_shape"
    }
    assert shapes == {(3, 3)}
    assert [n.op_type for n in told.graph.node] == [n.op_type for n in silent.graph.node]
    assert not any(a.name == "kernel_shape" for n in silent.graph.node for a in n.attribute)


def spec(precision: str, *, implicit: bool = False) -> BuildSpec:
    return BuildSpec(precision, 4, False, implicit, 3, 0, (9, 0))


def test_tensorrt_8_is_given_int8_samples_first_and_float_ones_where_it_refuses_them() -> None:
    model = with_qdq(residual_model())
    explicit = variants(model, (3, 24, 24), spec("int8"), TENSORRT_8)
    assert [item.input.kind for item in explicit] == ["int8", "float32"]
    assert explicit[0].input.scale == pytest.approx(explicit_scale(model))
    assert all(not item.scales for item in explicit)


def test_implicit_int8_is_a_float_network_with_a_scale_for_each_convolution() -> None:
    model = with_qdq(residual_model())
    implicit = variants(model, (3, 24, 24), spec("int8", implicit=True), TENSORRT_8)
    assert [item.input.kind for item in implicit] == ["int8", "float32"]
    for item in implicit:
        operators = {node.op_type for node in item.model.graph.node}
        assert not operators & {"QuantizeLinear", "DequantizeLinear"}
        for node in item.model.graph.node:
            if node.op_type == "Conv":
                assert node.input[0] in item.scales
                assert node.output[0] in item.scales


def test_a_scale_that_fp16_cannot_hold_keeps_the_rest_in_fp32() -> None:
    model = with_qdq(residual_model())
    for item in model.graph.initializer:
        if item.name == "images_scale":
            item.raw_data = onnx.numpy_helper.from_array(
                onnx.numpy_helper.to_array(item) * 0 + 1e-6
            ).raw_data
    given = variants(model, (3, 24, 24), spec("int8"), rtx())
    assert [item.input.kind for item in given] == ["int8", "float32"]
    assert {item.data_type for item in given[0].model.graph.initializer} == {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT8,
    }


def test_a_refused_variant_is_followed_by_the_next_with_a_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_unknown_operator_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    images = model.graph.input[0].name
    scale = onnx.numpy_helper.from_array(np.array(0.1, np.float32), "s")
    zero = onnx.numpy_helper.from_array(np.array(0, np.int8), "z")
    model.graph.initializer.extend([scale, zero])
    q = onnx.helper.make_node("QuantizeLinear", [images, "s", "z"], ["q"], "q")
    dq = onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"], "dq")
    model.graph.node[0].input[0] = "dq"
    nodes = [q, dq, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(TrialFailure, match="Frobnicate"):
        build(model, path, (3, 8, 8), spec("int8"), rtx())
    assert "with int8 samples is refused" in capsys.readouterr().err


def explicit_scale(model: onnx.ModelProto) -> float:
    (found,) = (item for item in model.graph.initializer if item.name == "images_scale")
    return float(onnx.numpy_helper.to_array(found))
