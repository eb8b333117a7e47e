"""Which tensors of an fp32 graph are quantized: one answer for calibration, Q/DQ and lint."""

import onnx

# The operators that TensorRT and OpenVINO both run in INT8 with this placement of Q/DQ. MaxPool is
# there for the ResNets' stem: left in float it cost OpenVINO 12 % of OFA-ResNet50's time at 176 px.
QUANTIZED_OPERATORS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "GlobalAveragePool",
    "ReduceMean",
    "MaxPool",
)


def quantized_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes whose inputs are quantized.

    An Add with a constant operand is none: the `x + 3` of h-swish, quantized, breaks the
    TensorRT-RTX build of MobileNetV3.
    """
    constants = {item.name for item in graph.initializer}
    return [
        node
        for node in graph.node
        if node.op_type in QUANTIZED_OPERATORS
        and not (node.op_type == "Add" and constants.intersection(node.input))
    ]


def quantized_tensors(graph: onnx.GraphProto) -> list[str]:
    """Names of the activations that need a range, in the order in which they are used."""
    constants = {item.name for item in graph.initializer}
    names: dict[str, None] = {}
    for node in quantized_nodes(graph):
        data = node.input[:1] if node.op_type in ("Conv", "Gemm") else node.input
        names.update((name, None) for name in data if name not in constants)
    return list(names)
