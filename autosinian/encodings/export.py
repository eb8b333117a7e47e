"""A folded network to fp32 ONNX whose tensors carry the names that encodings use."""

import copy
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import fx

from autosinian.content import atomic_file
from autosinian.encodings.placement import named_nodes
from autosinian.equalize.graph import kind
from autosinian.errors import TrialFailure
from autosinian.quantize.export import BATCH_AXIS, OPSET
from autosinian.quantize.simplify import simplify

TOLERANCE = 1e-4  # of the greatest value: float32 in another order of summation


def export_named(
    network: fx.GraphModule, image: tuple[int, int, int], output_names: Sequence[str] | None = None
) -> onnx.ModelProto:
    """`network`, which takes `N x C x H x W` of `image` `C x H x W`, as fp32 ONNX, N free.

    Every tensor that a module gives is called by that module's qualified name, and weights and
    biases by their parameter's, so that the names of `Encodings` exist in the model; outputs have
    `output_names` beside. Equal weights give equal models. Raises `TrialFailure` where torch
    cannot export the network, or the model computes something else with two images.
    """
    tapped, names = _tapped(network)
    buffer = io.BytesIO()
    input_name = next(str(node.target) for node in network.graph.nodes if node.op == "placeholder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy exporter announces its own retirement
        try:
            torch.onnx.export(
                tapped,
                (torch.zeros(1, *image),),
                buffer,  # type: ignore[arg-type]  # the legacy exporter takes a stream
                dynamo=False,
                opset_version=OPSET,
                input_names=[input_name],
                output_names=names,
                do_constant_folding=False,  # nothing is left to fold, and it is slow
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = str(error).partition("\n")[0]
            raise TrialFailure("quantize", f"ONNX export: {reason}") from error
    model = onnx.load_model_from_string(buffer.getvalue())
    del model.graph.output[len(_outputs(network)) :]
    model = simplify(model)
    _free_batch(model)
    _name_outputs(model, output_names or [])
    onnx.checker.check_model(model)
    _compare(model, network, input_name, (2, *image))
    return model


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write a model atomically; equal models give equal bytes."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def _outputs(network: fx.GraphModule) -> list[fx.Node]:
    result = next(node for node in network.graph.nodes if node.op == "output")
    given = result.args[0]
    nodes = [given] if isinstance(given, fx.Node) else list(given)
    if not all(isinstance(node, fx.Node) for node in nodes):
        raise TrialFailure("quantize", "ONNX export: the network must give tensors, nothing nested")
    return nodes


def _tapped(network: fx.GraphModule) -> tuple[fx.GraphModule, list[str]]:
    """The network with every named tensor among its outputs, which is what names them."""
    result = copy.deepcopy(network).cpu().float().eval()
    names = {
        node: name
        for node, name in named_nodes(result).items()
        if node.op != "placeholder" and kind(result, node) != "Identity"
    }
    outputs = _outputs(result)
    taps = [node for node in names if node not in outputs]
    end = next(node for node in result.graph.nodes if node.op == "output")
    end.args = ((*outputs, *taps),)
    result.recompile()
    labels = [names.get(node, f"output_{index}") for index, node in enumerate(outputs)]
    return result, [*labels, *(names[node] for node in taps)]


def _free_batch(model: onnx.ModelProto) -> None:
    """Let the first dimension be any: `0` in a Reshape takes over what comes in."""
    graph = model.graph
    reshaped = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for item in graph.initializer:
        if item.name in reshaped:
            sizes = numpy_helper.to_array(item).copy()
            if len(sizes) > 1 and sizes[0] in (1, -1):
                sizes[0] = 0
                item.CopyFrom(numpy_helper.from_array(np.asarray(sizes, np.int64), item.name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS
    del graph.value_info[:]


def _name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Further names for the outputs: the tensors keep those of their modules."""
    for output, name in zip(model.graph.output, names, strict=False):
        if output.name != name:
            node = onnx.helper.make_node("Identity", [output.name], [name], f"{name}_Identity")
            model.graph.node.append(node)
            output.name = name


def _compare(
    model: onnx.ModelProto, network: fx.GraphModule, name: str, shape: tuple[int, ...]
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {name: images.numpy()})
    with torch.no_grad():
        expected = copy.deepcopy(network).cpu().float().eval()(images)
    wanted = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    for given, tensor in zip(found, wanted, strict=True):
        reference = tensor.numpy()
        error = np.abs(given - reference).max(initial=0.0)
        if given.shape != reference.shape or error > TOLERANCE * np.abs(reference).max(initial=1.0):
            raise TrialFailure(
                "quantize",
                f"the exported ONNX must compute what the network does, but is off by {error:.3g}",
            )
