"""ONNX in torch against onnxruntime: every operator by itself, then real networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from autosinian.engine.torch_graph import read_onnx, reference_logits, torch_network
from autosinian.errors import InputError, TrialFailure
from tests.engine.onnx_nodes import CHANNELS, SIZE, logits_of_onnxruntime, write_node_model
from tests.engine.small_models import write_conv_model, write_unknown_operator_model

_RANDOM = np.random.default_rng(5)


def _weights(*shape: int) -> NDArray[np.float32]:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _images(count: int = 3, seed: int = 1) -> NDArray[np.float32]:
    shape = (count, CHANNELS, SIZE, SIZE)
    return 3 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_as_onnxruntime(model: Path, inputs: NDArray[np.float32], bound: float = 1e-5) -> None:
    """Equal up to `bound` of the largest logit."""
    wanted = logits_of_onnxruntime(model, inputs)
    given = reference_logits(model, inputs)
    assert given.shape == wanted.shape
    assert np.abs(given - wanted).max() <= bound * np.abs(wanted).max()


_INT64 = np.int64
_HALF = np.float32(0.5)
_SPATIAL: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Conv", (_weights(6, 4, 3, 3), _weights(6)), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", (_weights(6, 4, 3, 3),), {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("Conv", (_weights(8, 1, 3, 3),), {"group": 4, "dilations": [2, 2]}),
    ("Conv", (_weights(6, 4, 3, 3),), {"auto_pad": "VALID"}),
    ("Clip", (np.float32(-1), np.float32(1)), {}),
    ("Clip", (np.float32(0), np.float32(6)), {}),
    ("Clip", (None, np.float32(2)), {}),
    ("Clip", (np.float32(-2),), {}),
    ("Relu", (), {}),
    ("LeakyRelu", (), {"alpha": 0.1}),
    ("PRelu", (_weights(4, 1, 1),), {}),
    ("Elu", (), {}),
    ("Sigmoid", (), {}),
    ("Tanh", (), {}),
    ("Erf", (), {}),
    ("Exp", (), {}),
    ("Softplus", (), {}),
    ("HardSwish", (), {}),
    ("HardSigmoid", (), {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSigmoid", (), {}),
    ("Identity", (), {}),
    ("Dropout", (), {}),
    ("Add", (_HALF,), {}),
    ("Add", (_weights(1, 4, 1, 1),), {}),
    ("Sub", (np.array([0.5], np.float32),), {}),
    ("Mul", (_weights(4, 1, 1),), {}),
    ("Div", (np.float32(7),), {}),
    ("Pow", (np.float32(2),), {}),
    ("MaxPool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", (), {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    ("GlobalMaxPool", (), {}),
    ("ReduceMean", (), {"axes": [2, 3]}),
    ("Pad", (np.array([0, 0, 1, 0, 0, 0, 2, 3], _INT64), np.float32(1.5)), {}),
    ("Pad", (np.array([0, 0, 1, 2, 0, 0, 2, 1], _INT64),), {"mode": "reflect"}),
    ("Pad", (np.array([0, 1, 0, 0, 0, 2, 0, 0], _INT64),), {}),
    ("Transpose", (), {"perm": [0, 2, 1, 3]}),
    ("Concat", (np.zeros((3, 2, SIZE, SIZE), np.float32),), {"axis": 1}),
    ("Reshape", (np.array([0, CHANNELS, -1, 3], _INT64),), {}),
    ("Softmax", (), {"axis": 1}),
    ("LogSoftmax", (), {"axis": -1}),
    (
        "BatchNormalization",
        (_weights(4), _weights(4), _weights(4), np.abs(_weights(4)) + 1),
        {"epsilon": 1e-3},
    ),
    ("LayerNormalization", (_weights(SIZE), _weights(SIZE)), {"axis": -1}),
]
_FLAT: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Gemm", (_weights(10, 4), _weights(10)), {"transB": 1}),
    ("Gemm", (_weights(4, 10), _weights(1, 10)), {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", (_weights(4, 10),), {}),
    ("MatMul", (_weights(4, 10),), {}),
    ("Concat", (np.ones((3, 2), np.float32),), {"axis": 1}),
]


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


@pytest.mark.parametrize(("operator", "constants", "attributes"), _SPATIAL, ids=_name)
def test_an_operator_on_images_gives_what_onnxruntime_gives(
    operator: str, constants: tuple[Any, ...], attributes: dict[str, Any], tmp_path: Path
) -> None:
    model = write_node_model(tmp_path / "node.onnx", operator, *constants, **attributes)
    assert_as_onnxruntime(model, _images())


@pytest.mark.parametrize(("operator", "constants", "attributes"), _FLAT, ids=_name)
def test_an_operator_on_features_gives_what_onnxruntime_gives(
    operator: str, constants: tuple[Any, ...], attributes: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "node.onnx"
    assert_as_onnxruntime(
        write_node_model(path, operator, *constants, spatial=False, **attributes), _images()
    )


def test_a_constant_may_come_first(tmp_path: Path) -> None:
    model = write_node_model(tmp_path / "node.onnx", "Sub", np.float32(1), given=False)
    assert_as_onnxruntime(model, _images())


@pytest.mark.parametrize("opset", [13, 14, 15, 16, 17, 18, 19])
def test_axes_are_read_from_attribute_or_input_as_the_operator_set_has_them(
    opset: int, tmp_path: Path
) -> None:
    axes = np.array([2, 3], _INT64)
    path = tmp_path / "node.onnx"
    if opset >= 18:
        model = write_node_model(path, "ReduceMean", axes, opset=opset)
    else:
        model = write_node_model(path, "ReduceMean", opset=opset, axes=[2, 3])
    assert_as_onnxruntime(model, _images())


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("channels", [False, True])
def test_quantization_rounds_halves_to_even_and_saturates(
    kind: type[np.integer[Any]], channels: bool, tmp_path: Path
) -> None:
    shape = (CHANNELS,) if channels else ()
    scale = np.full(shape, 0.5, np.float32)
    zero = np.full(shape, 3 if kind is np.uint8 else 0, kind)
    model = write_pair_model(tmp_path / "pair.onnx", scale, zero)
    quarters = np.round(np.linspace(-360, 360, 2 * CHANNELS * SIZE * SIZE))
    inputs = (quarters / 4).astype(np.float32).reshape(2, CHANNELS, SIZE, SIZE)
    assert_as_onnxruntime(model, inputs, 1e-6)


def write_pair_model(path: Path, scale: NDArray[np.float32], zero: NDArray[Any]) -> Path:
    """QuantizeLinear and DequantizeLinear on the images."""
    write_node_model(path, "QuantizeLinear", scale, zero, axis=1)
    model = onnx.load(path)
    found = next(node for node in model.graph.node if node.name == "under_test")
    position = list(model.graph.node).index(found)
    back = onnx.NodeProto()
    back.CopyFrom(found)
    back.op_type, back.name = "DequantizeLinear", "back"
    back.input[0], back.output[0] = "whole", "found"
    found.output[0] = "whole"
    model.graph.node.insert(position + 1, back)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("int8", [False, True])
def test_a_small_network_gives_what_onnxruntime_gives(int8: bool, tmp_path: Path) -> None:
    model = write_conv_model(tmp_path / "model.onnx", int8=int8)
    inputs = np.random.default_rng(1).standard_normal((4, 3, 16, 16)).astype(np.float32)
    assert_as_onnxruntime(model, inputs)


def test_h_swish_as_ofa_writes_it_is_one_call(tmp_path: Path) -> None:
    model = _h_swish(tmp_path / "h_swish.onnx")
    assert_as_onnxruntime(model, _images())
    network = torch_network(read_onnx(model), "model")
    called = [node.target for node in network.module.graph.nodes if node.op == "call_function"]
    assert called[0] is torch.nn.functional.hardswish
    assert len(called) == 2  # and flatten; the mean is a method


def _h_swish(path: Path) -> Path:
    write_node_model(path, "Add", np.float32(3))
    model = onnx.load(path)
    graph = model.graph
    for name, value in (("zero", 0), ("six", 6)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
    graph.node[0].output[0] = "more"
    for node in reversed(
        (
            onnx.helper.make_node("Clip", ["more", "zero", "six"], ["clipped"]),
            onnx.helper.make_node("Mul", ["images", "clipped"], ["product"]),
            onnx.helper.make_node("Div", ["product", "six"], ["found"]),
        )
    ):
        graph.node.insert(1, node)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_constant_follows_the_module_to_another_precision_and_layout(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    network = torch_network(read_onnx(write_conv_model(tmp_path / "model.onnx")), "model")
    inputs = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network.module(inputs)
        module = network.module.to(dtype).to(memory_format=torch.channels_last)
        given = module(inputs.to(dtype).to(memory_format=torch.channels_last))
    assert given.dtype == dtype
    assert (given.float() - wanted).abs().max() <= 2e-2 * wanted.abs().max()
    assert {buffer.dtype for buffer in module.buffers()} == {dtype}


def test_the_shape_and_the_classes_are_read(tmp_path: Path) -> None:
    network = torch_network(read_onnx(write_conv_model(tmp_path / "m.onnx", size=24)), "model")
    assert network.input_shape == (3, 24, 24)
    assert network.classes == 10


def test_an_operator_that_is_not_known_is_named(tmp_path: Path) -> None:
    content = read_onnx(write_unknown_operator_model(tmp_path / "model.onnx"))
    with pytest.raises(TrialFailure, match=r"some\.where\.Frobnicate") as raised:
        torch_network(content, "model x")
    assert raised.value.stage == "build"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "message"),
    [
        ("Conv", (_weights(6, 4, 3, 3),), {"auto_pad": "SAME_UPPER"}, "auto_pad=SAME_UPPER"),
        ("Resize", (None, np.array([1, 1, 2, 2], np.float32)), {}, "Resize"),
        ("Flatten", (), {"axis": 2}, "Flatten"),
        ("ReduceMean", (), {}, "every axis"),
    ],
)
def test_what_an_operator_cannot_do_here_is_named(
    operator: str,
    constants: tuple[Any, ...],
    attributes: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    model = write_node_model(tmp_path / "node.onnx", operator, *constants, **attributes)
    onnx_bytes = model.read_bytes()
    with pytest.raises(TrialFailure, match=message):
        torch_network(onnx_bytes, "model x")


def test_an_old_operator_set_is_refused(tmp_path: Path) -> None:
    model = write_node_model(tmp_path / "node.onnx", "Relu", opset=11)
    with pytest.raises(TrialFailure, match="operator set 13 or newer, but has 11"):
        reference_logits(model, _images())


def test_a_network_without_classes_is_bad_input(tmp_path: Path) -> None:
    path = write_node_model(tmp_path / "node.onnx", "Relu")
    model = onnx.load(path)
    model.graph.output[0].name = "found"
    onnx.save(model, path)
    with pytest.raises(InputError, match="one output N x classes"):
        torch_network(path.read_bytes(), "model x")


FAMILIES = ("proxyless", "mobilenet_v3", "resnet")


@pytest.fixture(scope="module")
def subnet_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """The ONNX of a small subnet of each OFA family, fp32 or INT8, as the search writes it."""
    pytest.importorskip("ofa", reason="OFA's families need the package ofa")
    from autosinian.quantize.calibrate import collect_ranges
    from autosinian.quantize.export import export_onnx
    from autosinian.quantize.qdq import quantize
    from tests.quantize.networks import RESOLUTIONS, images, subnet

    folder = tmp_path_factory.mktemp("subnets")

    def make(family: str, int8: bool) -> Path:
        fp32, quantized = folder / f"{family}.onnx", folder / f"{family}_int8.onnx"
        if not fp32.exists():
            export_onnx(subnet(family), RESOLUTIONS[family], fp32)
            calibration = images(64, 1, RESOLUTIONS[family])
            quantize(fp32, collect_ranges(fp32, calibration, "minmax"), quantized)
        return quantized if int8 else fp32

    return make


def _patches(model: Path, count: int) -> NDArray[np.float32]:
    from tests.quantize.networks import images

    size = onnx.load(model).graph.input[0].type.tensor_type.shape.dim[2].dim_value
    return images(count, 2, size)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_subnet_gives_what_onnxruntime_gives(
    subnet_file: Callable[[str, bool], Path], family: str
) -> None:
    model = subnet_file(family, False)
    assert_as_onnxruntime(model, _patches(model, 16))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_subnet_gives_what_onnx_prescribes(
    subnet_file: Callable[[str, bool], Path], family: str
) -> None:
    model = subnet_file(family, True)
    inputs = _patches(model, 64)
    wanted, given = logits_of_onnxruntime(model, inputs), reference_logits(model, inputs)
    errors = np.abs(given - wanted).max(axis=1) / np.abs(wanted).max()
    # Sums in another order end, rarely, on the other side of a rounding step.
    assert np.median(errors) <= 1e-5
    assert errors.max() <= 0.15
    assert (given.argmax(axis=1) == wanted.argmax(axis=1)).mean() >= 0.95


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small"])
def test_a_torchvision_network_gives_what_onnxruntime_gives(name: str, tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    from autosinian.quantize.export import export_onnx

    torch.manual_seed(0)
    export_onnx(getattr(torchvision.models, name)(), 64, tmp_path / "model.onnx")
    inputs = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    assert_as_onnxruntime(tmp_path / "model.onnx", inputs)


def test_efficientnet_lite_gives_what_onnxruntime_gives(tmp_path: Path) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    from autosinian.quantize.export import export_onnx

    torch.manual_seed(0)
    export_onnx(package.EfficientNet.from_name("efficientnet-lite0"), 64, tmp_path / "model.onnx")
    inputs = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    assert_as_onnxruntime(tmp_path / "model.onnx", inputs)
