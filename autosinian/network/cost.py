"""What a network costs on paper, read from its ONNX graph."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from autosinian.quantize.simplify import attributes
from autosinian.supernet.cost import Cost


def graph_cost(model: onnx.ModelProto) -> Cost:
    """Multiply-adds of one image's Conv, ConvTranspose, Gemm and MatMul, and float constants.

    `model` is a prepared one: `images`, `N x 3 x r x r`, with a free N.
    """
    graph = model.graph
    shapes = _shapes(model)
    macs = sum(_LAYERS[n.op_type](n, shapes) for n in graph.node if n.op_type in _LAYERS)
    parameters = sum(
        int(np.prod(item.dims)) for item in graph.initializer if item.data_type == TensorProto.FLOAT
    )
    return Cost(macs, parameters)


Shapes = dict[str, tuple[int, ...]]


def _convolution(node: onnx.NodeProto, shapes: Shapes) -> int:
    # The weight is out x in/groups x taps...: each output takes in/groups x taps products.
    return int(np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:]))


def _transposed_convolution(node: onnx.NodeProto, shapes: Shapes) -> int:
    return int(np.prod(shapes[node.input[0]]) * np.prod(shapes[node.input[1]][1:]))


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = bool(attributes(node).get("transA", 0))
    return int(np.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1])


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return int(np.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1])


_LAYERS = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def _shapes(model: onnx.ModelProto) -> Shapes:
    """The shapes that layers have for one image, by running it: inference may not find them."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    constants = {item.name: tuple(item.dims) for item in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    names = dict.fromkeys(name for node in layers for name in (*node.input[:2], node.output[0]))
    given = model.graph.input[0]
    tapped = [name for name in names if name not in constants and name != given.name]
    del single.graph.output[:]
    single.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tapped)
    image = (1, *(size.dim_value for size in given.type.tensor_type.shape.dim[1:]))
    if not tapped:
        return {**constants, given.name: image}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        single.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results = session.run(tapped, {given.name: np.zeros(image, np.float32)})
    found = {name: tuple(value.shape) for name, value in zip(tapped, results, strict=True)}
    return {**constants, given.name: image, **found}
