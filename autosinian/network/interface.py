"""The one input and the one output of a user's ONNX, brought to `images` and `logits`."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from autosinian.errors import InputError
from autosinian.quantize.export import BATCH_AXIS, INPUT_NAME, OUTPUT_NAME

CHANNELS = 3


@dataclass(frozen=True)
class Interface:
    """Pixels a side, and the batch size where it is fixed."""

    resolution: int
    batch: int | None


def read_interface(model: onnx.ModelProto, resolution: int | None, label: str) -> Interface:
    """What `model` takes and gives; `resolution` is what the user says of it.

    Raises `InputError` unless it is one float32 input `N x 3 x r x r` and one output.
    """
    graph = model.graph
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]
    for what, items in (("input, the images", inputs), ("output, the classes", graph.output)):
        if len(items) != 1:
            names = ", ".join(f"`{item.name}`" for item in items) or "none"
            raise InputError(f"network {label} must have one {what}, but has {len(items)}: {names}")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise InputError(
            f"network {label} must take float32 images, but `{inputs[0].name}` is {kind}"
        )
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if not tensor.HasField("shape"):
        sizes = [None] * 4
    told = " x ".join("?" if size is None else str(size) for size in sizes)
    if len(sizes) != 4 or sizes[1] not in (None, CHANNELS):
        raise InputError(
            f"network {label} must take images as N x {CHANNELS} x r x r, but `{inputs[0].name}` "
            f"is {told}"
        )
    known = {size for size in sizes[2:] if size is not None}
    if len(known) > 1:
        raise InputError(f"network {label} must take square images, but takes {told}")
    if resolution is None and not known:
        raise InputError(
            f"network {label} takes images of any size ({told}): give `resolution`, in pixels"
        )
    if resolution is not None and known - {resolution}:
        raise InputError(
            f"network {label} takes images of {known.pop()} pixels, but `resolution` is "
            f"{resolution}; leave it out"
        )
    side = resolution if resolution is not None else known.pop()
    return Interface(side, sizes[0])


def set_interface(
    model: onnx.ModelProto, resolution: int, classes: int, *, batch: int | str = BATCH_AXIS
) -> None:
    """Give the one input and the one output these shapes and our names, in place."""
    graph = model.graph
    weights = {item.name for item in graph.initializer}
    (given,) = (item.name for item in graph.input if item.name not in weights)
    _rename(graph, {given: INPUT_NAME, graph.output[0].name: OUTPUT_NAME})
    images = [batch, CHANNELS, resolution, resolution]
    for ends, name, shape in (
        (graph.input, INPUT_NAME, images),
        (graph.output, OUTPUT_NAME, [batch, classes]),
    ):
        del ends[:]
        ends.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    del graph.value_info[:]


def free_reshapes(model: onnx.ModelProto, batch: int) -> None:
    """Where a Reshape writes the fixed batch size out, let it copy that of its input, in place."""
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    for node in graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None:
            continue
        sizes = numpy_helper.to_array(shape)
        if len(sizes) > 1 and sizes[0] == batch and not any(item.i for item in node.attribute):
            name = f"{node.input[1]}.batch_free"
            if name not in constants:
                freed = np.array([0, *sizes[1:]], np.int64)
                graph.initializer.append(numpy_helper.from_array(freed, name))
                constants[name] = graph.initializer[-1]
            node.input[1] = name


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename tensors; another that has a new name already makes way."""
    present = {name for node in graph.node for name in (*node.input, *node.output)}
    present |= {item.name for item in graph.initializer}
    wanted = dict(names)
    for new in names.values():
        if new in present and new not in names:
            other = f"{new}_inner"
            while other in present:
                other += "_"
            wanted[new] = other
    for node in graph.node:
        for field in (node.input, node.output):
            for position, name in enumerate(field):
                field[position] = wanted.get(name, name)
    for item in graph.initializer:
        item.name = wanted.get(item.name, item.name)
