"""Whether the network and the `calibrator.cache` in a bundle give its ONNX.

The network is `net.config` and `init` of a subnet, or `network.onnx` where it was fixed. A model
of integers is the folder `model`, with `autoconfig` where kernels were chosen, in one archive.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.content import file_sha256
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
    if bundle.path(files.INT4_MODEL).exists():
        return _integers(bundle)
    # Heavy: only here are torch and onnx needed.
    from autosinian.quantize.qdq import quantize
    from autosinian.quantize.ranges import read_ranges

    made = scratch / "remade.onnx"
    fixed = bundle.path(files.NETWORK).exists()
    problem = (_fixed if fixed else _subnet)(bundle, candidate, made)
    if problem:
        return False, problem
    samples = np.ascontiguousarray(inputs[:SAMPLES], np.float32)
    if bundle.path(files.EQUALIZED).exists():
        made, problem = _equalized(bundle, candidate, made, samples, scratch)
        if problem:
            return False, problem
    elif candidate.quantization.precision == "int8":
        quantized = scratch / "remade-int8.onnx"
        quantize(made, read_ranges(bundle.path(files.CALIBRATOR_CACHE)), quantized)
        made = quantized
    expected, found = _logits(bundle.path(files.MODEL), samples), _logits(made, samples)
    if expected.shape != found.shape:
        return False, f"logits are {found.shape} made again and {expected.shape} in {files.MODEL}"
    difference = float(np.abs(expected - found).max() / max(float(np.abs(expected).max()), 1e-12))
    gives = f"{files.NETWORK} gives" if fixed else f"{files.NET_CONFIG} and {files.INIT} give"
    detail = (
        f"{gives} {files.MODEL}'s logits within {difference:.1e} of the largest, on "
        f"{len(samples)} samples"
    )
    return difference <= TOLERANCE, detail


def _subnet(bundle: Bundle, candidate: Candidate, path: Path) -> str:
    """Export the subnet in fp32 to `path`; returns what is wrong with it, or nothing."""
    from autosinian.quantize.export import export_onnx
    from autosinian.supernet.net_files import read_net

    module, resolution = read_net(bundle.folder)
    if resolution != candidate.subnet.resolution:
        return f"{files.NET_CONFIG} says {resolution} px, not {candidate.subnet.resolution}"
    export_onnx(module, resolution, path)
    return ""


def _fixed(bundle: Bundle, candidate: Candidate, path: Path) -> str:
    """Prepare the fixed network in fp32 to `path`; returns what is wrong with it, or nothing."""
    from autosinian.network.prepare import prepare
    from autosinian.quantize.onnx_file import load_onnx

    source = bundle.path(files.NETWORK)
    if file_sha256(source) != bundle.result["network"]["sha256"]:
        return f"{files.NETWORK} is not the network that was searched: its SHA-256 differs"
    prepared = prepare(load_onnx(source), candidate.subnet.resolution, f"`{files.NETWORK}`")
    path.write_bytes(prepared.model.SerializeToString(deterministic=True))
    return ""


def _equalized(
    bundle: Bundle,
    candidate: Candidate,
    source: Path,
    samples: NDArray[np.float32],
    scratch: Path,
) -> tuple[Path, str]:
    """Quantize a detector again from `equalized.onnx`, which must compute what `source` does.

    Returns the file, and what is wrong with it, or nothing.
    """
    from autosinian.detection.joined import join_outputs
    from autosinian.encodings.files import read_encodings
    from autosinian.evaluate.detectors import quantized_again
    from autosinian.quantize.onnx_file import load_onnx

    equalized = load_onnx(bundle.path(files.EQUALIZED))
    joined, made = scratch / "remade-equalized.onnx", scratch / "remade-int8.onnx"
    joined.write_bytes(join_outputs(equalized).SerializeToString(deterministic=True))
    expected, found = _logits(source, samples), _logits(joined, samples)
    greatest = max(float(np.abs(expected).max()), 1e-12)
    difference = float(np.abs(expected - found).max()) / greatest
    if difference > TOLERANCE:
        return made, f"{files.EQUALIZED} gives other outputs than {files.NETWORK}: {difference:.1e}"
    encodings = read_encodings(bundle.path(files.ENCODINGS))
    model = quantized_again(equalized, encodings, candidate.engine.engine)
    made.write_bytes(model.SerializeToString(deterministic=True))
    return made, ""


def _integers(bundle: Bundle) -> tuple[bool, str]:
    """Whether `model/` and `autoconfig` are what the archive holds, byte for byte."""
    from autosinian.int4.model import open_model

    same = open_model(bundle.folder).archive == bundle.path(files.INT4_MODEL).read_bytes()
    says = "give" if same else "do not give"
    return same, f"model/ and autoconfig {says} {files.INT4_MODEL} byte for byte"


def _logits(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(result, np.float32)
