"""From a user's ONNX to the form of our own exports, checked to give the same logits."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.network.fold import fold
from autosinian.network.interface import (
    CHANNELS,
    Interface,
    free_reshapes,
    read_interface,
    set_interface,
)
from autosinian.network.opset import to_opset
from autosinian.network.refusals import refuse_unsupported
from autosinian.quantize.export import BATCH_AXIS, OPSET
from autosinian.quantize.simplify import simplify

SAMPLES = 3
FOLDING_BATCH = 7  # no other size in a network is likely to be that
TOLERANCE = 1e-3
"""Of the largest logit: folding orders additions otherwise."""


@dataclass(frozen=True)
class Prepared:
    """An ONNX of `images`, `N x 3 x r x r`, to `logits`, `N x classes`, in opset 17, fp32."""

    model: onnx.ModelProto
    resolution: int
    classes: int


def prepare(source: onnx.ModelProto, resolution: int | None, label: str) -> Prepared:
    """Bring `source` to the form that every engine reads and quantization knows.

    The batch axis is made free, constants, pads, shape arithmetic and batch norm are folded.
    `label` names the network in messages; `resolution` is needed where `source` does not tell it.
    The same source gives the same bytes. Raises `InputError` for what is not supported and where
    the result does not give `source`'s logits.
    """
    refuse_unsupported(source, label)
    found = read_interface(source, resolution, label)
    expected = _expected(source, found, label)
    classes = expected.shape[1]
    # Shape arithmetic folds where the batch size is a number, and is given back its freedom
    # afterwards; a network for which that fails keeps its arithmetic.
    problem, converted = "", to_opset(source, label)
    for batch in (found.batch,) if found.batch else (FOLDING_BATCH, None):
        model = _folded(converted, found.resolution, classes, batch, label)
        problem = _difference(model, expected, found, label)
        if not problem:
            return Prepared(model, found.resolution, classes)
    raise InputError(problem)


def _folded(
    model: onnx.ModelProto, resolution: int, classes: int, batch: int | None, label: str
) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    set_interface(copy, resolution, classes, batch=batch or BATCH_AXIS)
    try:
        copy = fold(copy, label)
        set_interface(copy, resolution, classes)
        if batch:
            free_reshapes(copy, batch)
        return simplify(copy)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(f"network {label} must be a valid classifier, but: {reason}") from error


def _images(found: Interface) -> NDArray[np.float32]:
    count = max(SAMPLES, found.batch or 0)
    shape = (count, CHANNELS, found.resolution, found.resolution)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _expected(source: onnx.ModelProto, found: Interface, label: str) -> NDArray[np.float32]:
    """The logits of `source` for random images, as many as it takes at once."""
    count = found.batch or SAMPLES
    expected = _logits(source, _images(found)[:count], label)
    if expected.ndim != 2 or expected.shape[0] != count:
        told = " x ".join(map(str, expected.shape))
        raise InputError(
            f"network {label} must give N x classes, but gives {told} for {count} images"
        )
    if not np.isfinite(expected).all():
        raise InputError(f"network {label} must give finite numbers, but did not for random images")
    return expected


def _difference(
    model: onnx.ModelProto, expected: NDArray[np.float32], found: Interface, label: str
) -> str:
    """In what `model` does not give `expected`; nothing where it does."""
    try:
        given = _logits(model, _images(found)[:SAMPLES], label)
    except InputError as error:
        given, told = None, str(error)
    else:
        told = f"network {label} must give N x classes for any N"
    if given is None or given.shape != (SAMPLES, expected.shape[1]):
        if found.batch is None:
            return told
        return (
            f"network {label} must take any number of images at once, but its batch size "
            f"{found.batch} is written into its layers; export it with a dynamic batch axis"
        )
    common = min(len(expected), SAMPLES)
    difference = float(np.abs(expected[:common] - given[:common]).max())
    if difference <= TOLERANCE * max(float(np.abs(expected).max()), 1e-12):
        return ""
    return (
        f"network {label} must keep its logits when constants are folded, but they differ by "
        f"{difference:.2g}; export it again, for inference and with opset {OPSET}"
    )


def _logits(model: onnx.ModelProto, images: NDArray[np.float32], label: str) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (result,) = session.run(None, {session.get_inputs()[0].name: images})
    except Exception as error:  # onnxruntime's own errors share no base class but this one
        reason = str(error).strip().partition("\n")[0][:300]
        raise InputError(f"network {label} must run in onnxruntime, but: {reason}") from error
    return np.asarray(result, np.float32)
