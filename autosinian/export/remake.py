"""Whether a bundle's `net.config`, `init` and `calibrator.cache` are the network in its ONNX."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle
from autosinian.space.candidate import Candidate

SAMPLES = 16
TOLERANCE = 1e-3
"""Of the largest logit: other versions of torch or onnx may order additions otherwise."""


def compare_logits(
    bundle: Bundle, candidate: Candidate, inputs: NDArray[Any], scratch: Path
) -> tuple[bool, str]:
    """Make the ONNX again as the export did and compare logits on a few of `inputs`.

    `inputs` is `N x 3 x r x r`. Returns whether they agree, and the difference in words. Raises
    `InputError` where a file cannot be read.
    """
    # Heavy: only here is torch needed.
    from autosinian.quantize.export import export_onnx
    from autosinian.quantize.qdq import quantize
    from autosinian.quantize.ranges import read_ranges
    from autosinian.supernet.net_files import read_net

    module, resolution = read_net(bundle.folder)
    if resolution != candidate.subnet.resolution:
        return False, f"{files.NET_CONFIG} says {resolution} px, not {candidate.subnet.resolution}"
    made = scratch / "remade.onnx"
    export_onnx(module, resolution, made)
    if candidate.quantization.precision == "int8":
        quantized = scratch / "remade-int8.onnx"
        quantize(made, read_ranges(bundle.path(files.CALIBRATOR_CACHE)), quantized)
        made = quantized
    samples = np.ascontiguousarray(inputs[:SAMPLES], np.float32)
    expected, found = _logits(bundle.path(files.MODEL), samples), _logits(made, samples)
    if expected.shape != found.shape:
        return False, f"logits are {found.shape} made again and {expected.shape} in {files.MODEL}"
    difference = float(np.abs(expected - found).max() / max(float(np.abs(expected).max()), 1e-12))
    detail = (
        f"{files.NET_CONFIG} and {files.INIT} give {files.MODEL}'s logits within {difference:.1e} "
        f"of the largest, on {len(samples)} samples"
    )
    return difference <= TOLERANCE, detail


def _logits(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(result, np.float32)
