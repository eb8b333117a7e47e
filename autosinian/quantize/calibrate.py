"""Runs calibration images through an fp32 ONNX and keeps the range of every quantized tensor."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.histogram import Histogram
from autosinian.quantize.onnx_file import load_fp32
from autosinian.quantize.placement import quantized_tensors
from autosinian.quantize.ranges import LEVELS, Ranges
from autosinian.quantize.threshold import METHODS, PERCENTILE, threshold

BATCH_BYTES = 32 * 2**20  # of tapped activations at once, where no batch size is given


def collect_histograms(
    model: Path,
    inputs: NDArray[np.float32],
    *,
    batch_size: int | None = None,
    greatest_only: bool = False,
) -> dict[str, Histogram]:
    """Histograms of every tensor that will be quantized, over `inputs`, `N x 3 x r x r`.

    They serve all methods. With `greatest_only` nothing is counted, which is faster and enough
    for `minmax`. Without `batch_size` as many images run at once as keep the tapped activations
    within `BATCH_BYTES`; the result does not depend on it. Raises `InputError` for no images or
    a wrong shape, `TrialFailure` where an activation is not finite.
    """
    graph = load_fp32(model)
    names = quantized_tensors(graph.graph)
    _check_inputs(graph, inputs, model)
    session = _tapped_session(graph, names, model)
    outputs = [item.name for item in session.get_outputs()]
    input_name = session.get_inputs()[0].name
    # An image with one background is a peak to entropy calibration, which then cuts off the rest.
    histograms = {name: Histogram(bounded=name == input_name) for name in names}
    for batch in _batches(session, input_name, outputs, inputs, batch_size):
        tensors = {input_name: batch}
        tensors.update(zip(outputs, session.run(outputs, {input_name: batch}), strict=True))
        for name, histogram in histograms.items():
            values = tensors[name]
            greatest = max(float(values.max()), -float(values.min()))
            if not math.isfinite(greatest):
                raise TrialFailure(
                    "quantize", f"activations must be finite, but `{name}` holds {greatest}"
                )
            if greatest_only:
                histogram.greatest = max(histogram.greatest, greatest)
            else:
                histogram.add(values, greatest)
    for node in graph.graph.node:
        if node.op_type == "MaxPool" and node.output[0] in histograms:
            # Equal scales before and behind it: the second Q/DQ changes nothing.
            histograms[node.output[0]] = histograms[node.input[0]]
    return histograms


def ranges_from_histograms(
    histograms: Mapping[str, Histogram], method: str, *, percentile: float = PERCENTILE
) -> Ranges:
    """Symmetric ranges by one of `METHODS`. A tensor that is all zero gets scale 1."""
    scales = {}
    for name, histogram in histograms.items():
        scale = np.float32(threshold(histogram, method, percentile=percentile) / LEVELS)
        # The smallest normal float32: engines flush smaller scales to zero.
        scales[name] = max(scale, np.finfo(np.float32).tiny) if scale > 0 else np.float32(1)
    return Ranges(method, scales, percentile if method == "percentile" else None)


def collect_ranges(
    model: Path,
    inputs: NDArray[np.float32],
    method: str,
    *,
    percentile: float = PERCENTILE,
    batch_size: int | None = None,
) -> Ranges:
    """Calibrate an fp32 ONNX with `inputs`, `N x 3 x r x r`, by one of `METHODS`.

    For several methods on one model, `collect_histograms` once is cheaper.
    """
    if method not in METHODS:
        raise InputError(f"calibration must be one of {', '.join(METHODS)}, but got `{method}`")
    histograms = collect_histograms(
        model, inputs, batch_size=batch_size, greatest_only=method == "minmax"
    )
    return ranges_from_histograms(histograms, method, percentile=percentile)


def _check_inputs(model: onnx.ModelProto, inputs: NDArray[np.float32], path: Path) -> None:
    if len(inputs) == 0:
        raise InputError("calibration needs at least one image, but the calibration set has none")
    expected = [item.dim_value for item in model.graph.input[0].type.tensor_type.shape.dim][1:]
    if inputs.ndim != 4 or list(inputs.shape[1:]) != expected or inputs.dtype != np.float32:
        wanted = " x ".join(["N", *map(str, expected)])
        given = " x ".join(map(str, inputs.shape))
        raise InputError(
            f"calibration images for {path} must be float32, {wanted}, "
            f"but got {inputs.dtype}, {given}"
        )


def _tapped_session(
    model: onnx.ModelProto, names: list[str], path: Path
) -> onnxruntime.InferenceSession:
    """A session whose outputs are the tensors to watch; what they do not need is left out."""
    inputs = {item.name for item in model.graph.input}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    tapped.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in inputs
    )
    if not tapped.graph.output:
        raise InputError(f"{path} must have a layer behind the first to quantize, but has none")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            tapped.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own errors share no base class but this one
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} must run in onnxruntime, but: {reason}") from error


def _batches(
    session: onnxruntime.InferenceSession,
    input_name: str,
    outputs: list[str],
    inputs: NDArray[np.float32],
    batch_size: int | None,
) -> Iterator[NDArray[np.float32]]:
    if batch_size is None:
        one = session.run(outputs, {input_name: np.ascontiguousarray(inputs[:1])})
        batch_size = max(1, BATCH_BYTES // max(1, sum(tensor.nbytes for tensor in one)))
    for start in range(0, len(inputs), batch_size):
        yield np.ascontiguousarray(inputs[start : start + batch_size])
