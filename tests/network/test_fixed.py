"""Users' ONNX files and torch modules, opened, and what is told of those that cannot be."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autosinian.content import file_sha256
from autosinian.errors import InputError
from autosinian.network.fixed import open_network
from autosinian.quantize.lint import lint
from autosinian.space.document import NetworkSpec
from tests.network.small_onnx import CLASSES, SIDE, Change, make, set_shape, write

IMAGES = np.random.default_rng(1).standard_normal((5, 3, SIDE, SIDE)).astype(np.float32)


def logits(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(result)


def refused(path: Path, change: Change, **spec: object) -> str:
    with pytest.raises(InputError) as caught:
        open_network(NetworkSpec.model_validate({"source": str(write(path, change)), **spec}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fix_batch(model: onnx.ModelProto, *, size: tuple[int, ...] = (1, -1)) -> None:
    """Batch size 1, written into the Reshape as tracing exporters do."""
    set_shape(model, 1, 3, SIDE, SIDE)
    nodes = [n for n in model.graph.node if n.op_type not in ("Shape", "Gather", "Concat")]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(size, np.int64), "size"))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def to_opset_18(model: onnx.ModelProto) -> None:
    """ReduceMean with its axes as an input in place of the pool, as newer exporters write it."""
    for node in model.graph.node:
        if node.op_type == "GlobalAveragePool":
            node.CopyFrom(helper.make_node("ReduceMean", ["r", "axes"], ["p"], keepdims=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    model.opset_import[0].version = 18


def free_size(model: onnx.ModelProto) -> None:
    set_shape(model, "n", 3, "h", "w")


@pytest.mark.parametrize("change", [lambda model: None, fix_batch, to_opset_18, free_size])
def test_any_batch_gives_the_logits_of_the_given_file(tmp_path: Path, change: Change) -> None:
    path = write(tmp_path / "tiny.onnx", change)
    network = open_network(NetworkSpec(source=str(path), resolution=SIDE))
    prepared = network.prepared.model
    expected = logits(make(), IMAGES)
    np.testing.assert_allclose(logits(prepared, IMAGES), expected, rtol=1e-3, atol=1e-4)
    assert lint(prepared) == []
    kinds = [node.op_type for node in prepared.graph.node]
    assert kinds[:2] == ["Conv", "Relu"]
    assert kinds[-2:] == ["Flatten", "Gemm"]
    assert (prepared.graph.input[0].name, prepared.graph.output[0].name) == ("images", "logits")
    assert network.sha256 == file_sha256(path)
    assert (network.resolutions, network.classes) == ((SIDE,), CLASSES)


def test_the_cost_is_that_of_convolution_and_matrix(tmp_path: Path) -> None:
    network = open_network(NetworkSpec(source=str(write(tmp_path / "tiny.onnx"))))
    half = SIDE // 2
    assert network.cost.macs == half * half * 8 * 27 + 8 * CLASSES
    # The batch norm is in weight and bias of the convolution.
    assert network.cost.parameters == 8 * 27 + 8 + 8 * CLASSES + CLASSES


def test_batch_norm_that_no_convolution_precedes_is_no_batch_norm_afterwards(
    tmp_path: Path,
) -> None:
    def before(model: onnx.ModelProto) -> None:
        relu, norm = model.graph.node[2], model.graph.node[1]
        relu.input[0], relu.output[0] = "c", "a"
        norm.input[0], norm.output[0] = "a", "r"
        nodes = list(model.graph.node)
        nodes[1], nodes[2] = relu, norm
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)

    path = write(tmp_path / "tiny.onnx", before)
    prepared = open_network(NetworkSpec(source=str(path))).prepared.model
    assert "BatchNormalization" not in [node.op_type for node in prepared.graph.node]
    expected = logits(onnx.load_model(path), IMAGES)
    np.testing.assert_allclose(logits(prepared, IMAGES), expected, rtol=1e-3, atol=1e-4)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    onnx.save_model(
        make(), path, save_as_external_data=True, location="tiny.data", size_threshold=0
    )
    network = open_network(NetworkSpec(source=str(path)))
    assert network.source != path.read_bytes()
    np.testing.assert_allclose(
        logits(network.prepared.model, IMAGES), logits(make(), IMAGES), rtol=1e-3, atol=1e-4
    )
    (tmp_path / "tiny.data").unlink()
    with pytest.raises(InputError, match="must have its weights beside it"):
        open_network(NetworkSpec(source=str(path)))


def second_input(model: onnx.ModelProto) -> None:
    extra = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", CLASSES])
    model.graph.input.append(extra)
    model.graph.node[-1].output[0] = "g"
    model.graph.node.append(helper.make_node("Add", ["g", "z"], ["y"]))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_empty_tensor_value_info("f"))
    model.graph.output[-1].CopyFrom(helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 8]))


def pooled_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 8, 1, 1])
    )


def quantized(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "s"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    model.graph.node[-1].output[0] = "g"
    model.graph.node.append(helper.make_node("QuantizeLinear", ["g", "s", "zero"], ["q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "s", "zero"], ["y"]))


def of_one_runtime(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "FastGelu"
    model.graph.node[2].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def newer_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "Gelu"
    model.opset_import[0].version = 20


def training(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 14
    model.graph.node[1].attribute.append(helper.make_attribute("training_mode", 1))
    model.graph.node[1].output.extend(["running_mean", "running_var"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (second_input, "must have one input, the images, but has 2: `x`, `z`"),
        (second_output, "must have one output, the classes, but has 2: `y`, `f`"),
        (pooled_output, "must give N x classes, but gives 3 x 8 x 1 x 1"),
        (quantized, "must be fp32, but is quantized already (QuantizeLinear `q`)"),
        (of_one_runtime, "FastGelu `r` is of `com.microsoft`"),
        (newer_operator, "it is of 20 and Gelu `r` is newer"),
        (training, "BatchNormalization `b` is in training mode"),
        (lambda m: set_shape(m, "n", SIDE, SIDE, 3), "`x` is ? x 16 x 16 x 3"),
        (lambda m: set_shape(m, "n", 3, SIDE, 8), "must take square images"),
        (lambda m: set_shape(m, "n", SIDE), "must take images as N x 3 x r x r"),
        (free_size, "give `resolution`, in pixels"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, change: Change, told: str) -> None:
    assert told in refused(tmp_path / "tiny.onnx", change)


def test_a_batch_size_in_the_layers_is_told(tmp_path: Path) -> None:
    def fixed(model: onnx.ModelProto) -> None:
        fix_batch(model, size=(-1, 8))
        model.graph.initializer.append(
            numpy_helper.from_array(np.array([8, 1], np.int64), "turned")
        )
        model.graph.node[-1].input[0] = "g"
        last = model.graph.node.pop()
        model.graph.node.append(helper.make_node("Reshape", ["f", "turned"], ["t"]))
        model.graph.node.append(helper.make_node("Transpose", ["t"], ["g"], perm=[1, 0]))
        model.graph.node.append(last)

    assert "its batch size 1 is written into its layers" in refused(tmp_path / "tiny.onnx", fixed)


def test_another_resolution_than_the_files_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path / "tiny.onnx", lambda model: None, resolution=32)
    assert "takes images of 16 pixels, but `resolution` is 32" in message


def test_a_short_side_below_the_resolution_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path / "tiny.onnx", lambda model: None, resize=8)
    assert "resize must be at least the resolution 16" in message


@pytest.mark.parametrize("content", [b"", b"no network", b"\x00" * 64])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tiny.onnx").write_bytes(content)
    with pytest.raises(InputError, match="must be a"):
        open_network(NetworkSpec(source=str(tmp_path / "tiny.onnx")))
    with pytest.raises(InputError, match="there is no file"):
        open_network(NetworkSpec(source=str(tmp_path / "absent.onnx")))
