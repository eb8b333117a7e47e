"""One explicit Q/DQ INT8 ONNX, for all engines, from an fp32 one and the ranges of its tensors."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

from autosinian.content import atomic_file
from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.lint import lint
from autosinian.quantize.onnx_file import load_fp32
from autosinian.quantize.placement import QUANTIZED_OPERATORS, quantized_nodes, quantized_tensors
from autosinian.quantize.ranges import LEVELS, Ranges

_ZERO = np.array(0, np.int8)


def quantize(model: Path, ranges: Ranges, output: Path) -> None:
    """Write `model`, fp32 from `export_onnx`, with Q/DQ around what runs in INT8.

    Weights are int8, symmetric, one scale per output channel; activations int8, symmetric, one
    scale per tensor, taken as it stands in `ranges`; biases stay float. The inputs of quantized
    operators carry Q/DQ, their outputs do not: the next operator's input does. Equal arguments
    give equal bytes. Raises `InputError` where `ranges` lacks a tensor, `TrialFailure` where
    the result breaks a rule of `lint`.
    """
    source = load_fp32(model)
    names = quantized_tensors(source.graph)
    missing = [name for name in names if name not in ranges.scales]
    if missing:
        raise InputError(
            f"ranges for {model} must cover every quantized tensor, but `{missing[0]}` and "
            f"{len(missing) - 1} more are missing: collect them on this very file"
        )
    for name in names:
        scale = ranges.scales[name]
        if not (np.isfinite(scale) and scale > 0):
            raise InputError(f"the scale of `{name}` must be above 0, but is {scale}")
    with tempfile.TemporaryDirectory() as folder, atomic_file(output) as temporary:
        range_file = Path(folder) / "ranges.json"
        _write_range_file(source.graph, ranges, range_file)
        _quantize_static(
            source,
            temporary,
            nodes_to_quantize=[node.name for node in quantized_nodes(source.graph)],
            calibration_cache_path=range_file,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "ForceQuantizeNoInputCheck": True,  # else MaxPool stays in float
                "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPERATORS),
                "TensorQuantOverrides": {
                    name: [
                        {"scale": np.array(ranges.scales[name], np.float32), "zero_point": _ZERO}
                    ]
                    for name in names
                },
            },
        )
        result = onnx.load_model(temporary)
        problems = lint(result)
        if problems:
            raise TrialFailure("quantize", f"{problems[0]} ({len(problems)} such problems)")
        temporary.write_bytes(result.SerializeToString(deterministic=True))


def _quantize_static(model: onnx.ModelProto, output: Path, **options: Any) -> None:
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises pre-processing that export_onnx has done
    try:
        quantize_static(
            model,
            output,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPERATORS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            **options,
        )
    finally:
        logger.setLevel(level)


def _write_range_file(graph: onnx.GraphProto, ranges: Ranges, path: Path) -> None:
    """onnxruntime wants a range for every activation, also for those that it will not quantize."""
    constants = {item.name for item in graph.initializer}
    names = {name for node in graph.node for name in (*node.input, *node.output)} - constants
    data = {}
    for name in sorted(names):
        bound = np.float32(ranges.scales.get(name, np.float32(1)) * np.float32(LEVELS))
        data[name] = TensorData(lowest=-bound, highest=bound)
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), path)
