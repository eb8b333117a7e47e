"""From an ONNX file to a serialized TensorRT engine."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from autosinian.engine.network_input import NetworkInput
from autosinian.engine.tensorrt_log import fresh_log, last_words, one_line
from autosinian.engine.tensorrt_versions import (
    Library,
    configure,
    load,
    network_flags,
    target,
)
from autosinian.engine.timing_cache import read_timing_cache, update_timing_cache
from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.complete import complete
from autosinian.quantize.half import SMALLEST_NORMAL, smallest_scale, to_half
from autosinian.quantize.int8_input import int8_input
from autosinian.quantize.ranges import LEVELS
from autosinian.quantize.strip import strip_qdq


@dataclass(frozen=True)
class BuildSpec:
    """What is built: `batch_size` alone, or with `ladder` every size up to it.

    `timing_cache` is the file that this build reads and adds to, None for none. `capability` is
    that of the GPU at hand.
    """

    precision: str
    batch_size: int
    ladder: bool
    implicit: bool
    optimization_level: int
    aux_streams: int
    capability: tuple[int, int]
    timing_cache: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A network as TensorRT is to read it. `scales` are for implicit INT8, by tensor."""

    model: onnx.ModelProto
    input: NetworkInput
    scales: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A serialized engine, how it wants its samples, and every warning of the builder."""

    engine: bytes
    input: NetworkInput
    warnings: tuple[str, ...]


def classifier_shape(model: onnx.ModelProto, path: Path) -> tuple[tuple[int, int, int], int]:
    """`C x H x W` and the number of classes of a network `N x C x H x W -> N x classes`.

    Raises `InputError` for any other.
    """
    graph = model.graph
    constants = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    shapes = [
        tuple(d.dim_value for d in item.type.tensor_type.shape.dim)
        for item in (*inputs, *graph.output)
    ]
    if len(inputs) == 1 and len(graph.output) == 1:
        given, result = shapes
        fits = len(given) == 4 and len(result) == 2 and all((*given[1:], result[1]))
        if fits and inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            channels, height, width = given[1:]
            return (channels, height, width), result[1]
    raise InputError(
        f"model {path} must have one float input N x C x H x W and one output N x classes, got "
        f"{len(inputs)} inputs and {len(graph.output)} outputs of shapes {shapes}"
    )


def variants(
    model: onnx.ModelProto, shape: tuple[int, int, int], spec: BuildSpec, library: Library
) -> list[Prepared]:
    """`model` as `spec` wants it, the fastest way of feeding it first.

    An int8 network is fed int8 where all of its input is quantized; what a version refuses is
    built with float samples. What is not quantized runs in fp16, where types are those of the
    file only if fp16 can hold every scale.
    """
    batched = with_batch(model, None if spec.ladder else spec.batch_size)
    if spec.precision == "fp32":
        return [Prepared(batched, NetworkInput("float32", shape))]
    if spec.precision == "fp16":
        if library.strongly_typed:
            return [Prepared(to_half(batched), NetworkInput("float16", shape))]
        return [Prepared(batched, NetworkInput("float16", shape))]
    whole = Prepared(batched, NetworkInput("float32", shape))
    if spec.implicit:
        plain, scales = strip_qdq(batched)
        scales = complete(plain, scales)
        name = plain.graph.input[0].name
        whole = Prepared(plain, whole.input, scales)
        if name not in scales:
            return [whole]
        return [Prepared(plain, NetworkInput("int8", shape, scales[name]), scales), whole]
    cut = int8_input(batched)
    fed_int8 = [] if cut is None else [Prepared(cut[0], NetworkInput("int8", shape, cut[1]))]
    if library.strongly_typed and smallest_scale(batched) >= SMALLEST_NORMAL:
        return [
            *(Prepared(to_half(item.model), item.input) for item in fed_int8),
            Prepared(to_half(batched), NetworkInput("float16", shape)),
        ]
    return [*fed_int8, whole]


def with_batch(model: onnx.ModelProto, size: int | None) -> onnx.ModelProto:
    """A copy whose input and output have a batch of `size`, or of any size, and whose convolutions
    all tell their kernel's shape."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _tell_kernel_shapes(result.graph)
    constants = {item.name for item in result.graph.initializer}
    for item in (*result.graph.input, *result.graph.output):
        if item.name not in constants:
            batch = item.type.tensor_type.shape.dim[0]
            batch.Clear()
            if size is None:
                batch.dim_param = "N"
            else:
                batch.dim_value = size
    del result.graph.value_info[:]
    return result


def _tell_kernel_shapes(graph: onnx.GraphProto) -> None:
    """ONNX lets a convolution leave it to its weights; TensorRT 8 refuses that where they are
    dequantized."""
    shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
        told = {attribute.name for attribute in node.attribute}
        if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in told:
            weights = shapes.get(node.input[1])
            if weights is not None:
                node.attribute.append(helper.make_attribute("kernel_shape", weights[2:]))


def build(
    model: onnx.ModelProto,
    path: Path,
    shape: tuple[int, int, int],
    spec: BuildSpec,
    library: Library,
    listen: Callable[[str], None] | None = None,
) -> Built:
    """Build `model`, read from `path`; `listen` hears whatever TensorRT says, down to each layer.

    Raises `TrialFailure("build", ...)` with TensorRT's own words where it cannot.
    """
    attempts = variants(model, shape, spec, library)
    for number, prepared in enumerate(attempts, start=1):
        try:
            return _attempt(prepared, path, spec, library, listen)
        except TrialFailure as failure:
            if number == len(attempts):
                raise
            print(
                f"{path.name} with {prepared.input.kind} samples is refused ({failure.reason}); "
                f"building with {attempts[number].input.kind} samples",
                file=sys.stderr,
            )
    raise AssertionError("there is always an attempt")


def _attempt(
    prepared: Prepared,
    path: Path,
    spec: BuildSpec,
    library: Library,
    listen: Callable[[str], None] | None,
) -> Built:
    trt = load(library)
    log = fresh_log(trt, listen)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # how a constructor that gave nothing is told
        raise TrialFailure("build", f"{library.title} cannot start: {last_words(log)}") from error
    network = builder.create_network(network_flags(trt, library))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(prepared.model.SerializeToString()):
        raise TrialFailure("build", _parser_words(parser, prepared.model, path, library, log))
    config = builder.create_builder_config()
    configure(trt, library, config, spec.precision)
    target(trt, library, config, spec.capability)
    config.builder_optimization_level = spec.optimization_level
    config.max_aux_streams = spec.aux_streams
    if listen is not None:
        # It makes each start of a batch slower, so not where nobody listens.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    given = network.get_input(0)
    if not library.strongly_typed:
        given.dtype = getattr(trt, prepared.input.kind)
        given.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
        network.get_output(0).dtype = trt.float32
    if prepared.scales:
        _set_ranges(network, prepared.scales)
    if spec.ladder:
        profile = builder.create_optimization_profile()
        some, all_ = (1, *prepared.input.shape), (spec.batch_size, *prepared.input.shape)
        profile.set_shape(given.name, some, all_, all_)
        config.add_optimization_profile(profile)
    cache = spec.timing_cache if library.has_timing_cache else None
    if cache is not None:
        timings = _use_cache(config, cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise TrialFailure("build", f"{library.title} cannot build {path.name}: {last_words(log)}")
    if cache is not None:
        _add_to_cache(config, timings, cache)
    return Built(bytes(engine), prepared.input, tuple(log.warnings))


def _parser_words(
    parser: Any, model: onnx.ModelProto, path: Path, library: Library, log: Any
) -> str:
    """Why the parser refused, with the operator named."""
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        position = error.node()
        if 0 <= position < len(model.graph.node):
            node = model.graph.node[position]
            where = f"`{node.name}`" if node.name else f"node {position}"
            return (
                f"{library.title} does not take operator {node.op_type} ({where}) of {path.name}: "
                f"{one_line(error.desc())}"
            )
    words = one_line(parser.get_error(0).desc()) if parser.num_errors else last_words(log)
    return f"{library.title} cannot read {path.name}: {words}"


def _set_ranges(network: Any, scales: Mapping[str, float]) -> None:
    tensors = [network.get_input(0)]
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        tensors += [layer.get_output(position) for position in range(layer.num_outputs)]
    for tensor in tensors:
        scale = scales.get(tensor.name)
        if scale is not None:
            tensor.dynamic_range = (-scale * LEVELS, scale * LEVELS)


def _use_cache(config: Any, path: Path) -> Any:
    """Give `config` what is in `path`; the result must live as long as `config` builds."""
    cache = config.create_timing_cache(read_timing_cache(path))
    if cache is None or not config.set_timing_cache(cache, False):
        print(f"timing cache {path} is not used: TensorRT refuses it", file=sys.stderr)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _add_to_cache(config: Any, cache: Any, path: Path) -> None:
    def combined(there: bytes) -> bytes:
        if there:
            other = config.create_timing_cache(there)
            if other is not None:
                cache.combine(other, False)
        return bytes(cache.serialize())

    update_timing_cache(path, combined)
