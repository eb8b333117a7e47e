"""Rewrites of an exported graph to the nodes that engines recognise, quantize and fuse."""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give an equal model, changed in place, in fewer and more usual nodes.

    Constants become initializers, each layer with its own; OFA's two means over width and height
    become one GlobalAveragePool; the shape arithmetic of `x.view(x.size(0), -1)` becomes Flatten;
    average pooling by 1 disappears, and one that divides its input evenly loses `ceil_mode`;
    folded weights are named after their layer.
    """
    graph = model.graph
    _lift_constants(graph)
    shapes = _shapes(model)
    _merge_means(graph)
    _flatten_views(graph, shapes)
    _plain_average_pools(graph, shapes)
    _drop_unused(graph)
    _name_weights(graph)
    model.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """The attributes of a node by name, as Python values."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def initializers(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Every constant of a graph by name."""
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Make `nodes` the whole list of a graph's nodes."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        info.name: tuple(
            dimension.dim_value if dimension.HasField("dim_value") else None
            for dimension in info.type.tensor_type.shape.dim
        )
        for info in (*inferred.input, *inferred.value_info, *inferred.output)
    }


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes, and the Identity nodes through which torch shares equal weights."""
    tensors = {item.name: item for item in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value = node.attribute[0].t
        elif node.op_type == "Identity" and node.input[0] in tensors:
            value = tensors[node.input[0]]
        else:
            kept.append(node)
            continue
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        tensors[tensor.name] = tensor
    replace_nodes(graph, kept)
    constants = list(tensors.values())
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _merge_means(graph: onnx.GraphProto) -> None:
    """ReduceMean over axis 3, then over axis 2, is what OFA writes for global average pooling."""
    readers = consumers(graph)
    outputs = {item.name for item in graph.output}
    kept: list[onnx.NodeProto] = []
    merged: set[str] = set()
    for node in graph.node:
        if node.name in merged:
            continue
        following = readers.get(node.output[0], [])
        if (
            node.op_type == "ReduceMean"
            and node.output[0] not in outputs
            and len(following) == 1
            and following[0].op_type == "ReduceMean"
            and attributes(node).get("axes") in ([3], [-1])
            and attributes(following[0]).get("axes") in ([2], [-2] if _keeps(node) else [-1])
            and _keeps(node) == _keeps(following[0])
        ):
            second = following[0]
            merged.add(second.name)
            pooled = second.output[0] if _keeps(node) else node.output[0]
            kept.append(
                onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], node.name)
            )
            if not _keeps(node):
                kept.append(
                    onnx.helper.make_node("Flatten", [pooled], [second.output[0]], second.name)
                )
        else:
            kept.append(node)
    replace_nodes(graph, kept)


def _keeps(mean: onnx.NodeProto) -> bool:
    return bool(attributes(mean).get("keepdims", 1))


def _flatten_views(graph: onnx.GraphProto, shapes: dict[str, tuple[int | None, ...]]) -> None:
    """A Reshape from `N x C x 1 x 1` to rank 2 can only be a Flatten."""
    for node in graph.node:
        source = shapes.get(node.input[0], ()) if node.op_type == "Reshape" else ()
        target = shapes.get(node.output[0], ())
        if len(source) == 4 and source[2:] == (1, 1) and source[1] and len(target) == 2:
            node.CopyFrom(
                onnx.helper.make_node("Flatten", [node.input[0]], [node.output[0]], node.name)
            )


def _plain_average_pools(graph: onnx.GraphProto, shapes: dict[str, tuple[int | None, ...]]) -> None:
    renamed: dict[str, str] = {}
    outputs = {item.name for item in graph.output}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if node.op_type == "AveragePool":
            values = attributes(node)
            unpadded = values.get("pads", [0, 0, 0, 0]) == [0, 0, 0, 0]
            stays = values["kernel_shape"] == [1, 1] and values.get("strides") in (None, [1, 1])
            if stays and unpadded and node.output[0] not in outputs:
                renamed[node.output[0]] = node.input[0]
                continue
            sizes = shapes.get(node.input[0], ())[2:]
            kernel = values["kernel_shape"]
            if (
                isinstance(kernel, list)
                and values.get("auto_pad", b"NOTSET") == b"NOTSET"
                and kernel == values.get("strides")
                and unpadded
                and len(sizes) == len(kernel)
            ):
                even = all(s and s % k == 0 for s, k in zip(sizes, kernel, strict=True))
                # torch never counts what lies beyond the edge, whatever it writes here.
                node.CopyFrom(
                    onnx.helper.make_node(
                        "AveragePool",
                        list(node.input),
                        list(node.output),
                        node.name,
                        kernel_shape=kernel,
                        strides=kernel,
                        ceil_mode=int(not even and bool(values.get("ceil_mode", 0))),
                        count_include_pad=0,
                    )
                )
        kept.append(node)
    replace_nodes(graph, kept)


def _drop_unused(graph: onnx.GraphProto) -> None:
    needed = {item.name for item in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    replace_nodes(graph, reversed(kept))
    constants = [item for item in graph.initializer if item.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _name_weights(graph: onnx.GraphProto) -> None:
    """`onnx::Conv_383` counts torch's internals; `first_conv.conv.weight` names the layer."""
    renamed: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            layer = node.name.strip("/").replace("/", ".").removesuffix(f".{node.op_type}")
            for name, role in zip(node.input[1:], ("weight", "bias"), strict=False):
                if name.startswith("onnx::"):
                    renamed.setdefault(name, f"{layer}.{role}")
    for item in graph.initializer:
        item.name = renamed.get(item.name, item.name)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
