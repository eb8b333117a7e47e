"""What a network costs on paper, read from its ONNX graph."""

import numpy as np
import onnx
from onnx import TensorProto

from autosinian.errors import InputError
from autosinian.quantize.simplify import attributes
from autosinian.supernet.cost import Cost


def graph_cost(model: onnx.ModelProto) -> Cost:
    """Multiply-adds of one image's Conv, ConvTranspose, Gemm and MatMul, and float constants.

    Raises `InputError` where shape inference finds no size of such a layer.
    """
    graph = model.graph
    shapes = _shapes(model)
    macs = 0
    for node in graph.node:
        count = _LAYERS.get(node.op_type)
        if count is None:
            continue
        try:
            macs += count(node, shapes)
        except (KeyError, IndexError) as error:
            raise InputError(
                f"the sizes of {node.op_type} `{node.name}` must follow from the network's input, "
                "but shape inference does not find them; export it without dynamic shapes"
            ) from error
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
    """Every known shape for one image; tensors with an unknown size are left out."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    single.graph.output[0].type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes: Shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        dims = info.type.tensor_type.shape.dim
        if dims and all(d.HasField("dim_value") for d in dims):
            shapes[info.name] = tuple(d.dim_value for d in dims)
    return shapes
