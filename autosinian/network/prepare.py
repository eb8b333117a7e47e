"""From a user's ONNX to the form of our own exports, checked to give the same logits."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.network.fold import fold, to_opset
from autosinian.network.interface import (
    CHANNELS,
    Interface,
    free_reshapes,
    read_interface,
    set_classes,
    set_interface,
)
from autosinian.network.refusals import refuse_unsupported
from autosinian.quantize.simplify import simplify

SAMPLES = 3
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

    The batch axis is made free, constants and batch norm are folded, shape arithmetic becomes
    Flatten. `label` names the network in messages; `resolution` is needed where `source` does not
    tell it. The same source gives the same bytes. Raises `InputError` for what is not supported
    and where the result does not give `source`'s logits.
    """
    model = onnx.ModelProto()
    model.CopyFrom(source)
    refuse_unsupported(model, label)
    found = read_interface(model, resolution, label)
    model = to_opset(model, label)
    set_interface(model, found)
    model = fold(model, label)
    if found.batch is not None:
        free_reshapes(model, found.batch)
    try:
        model = simplify(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(f"network {label} must be a valid classifier, but: {reason}") from error
    classes = _check_logits(source, model, found, label)
    set_classes(model, classes)
    return Prepared(model, found.resolution, classes)


def _check_logits(
    source: onnx.ModelProto, model: onnx.ModelProto, found: Interface, label: str
) -> int:
    """The number of classes; `InputError` where `model` computes something else than `source`."""
    shape = (max(SAMPLES, found.batch or 1), CHANNELS, found.resolution, found.resolution)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    expected = _logits(source, images[: found.batch or SAMPLES], label)
    if expected.ndim != 2 or expected.shape[0] != (found.batch or SAMPLES):
        told = " x ".join(map(str, expected.shape))
        raise InputError(
            f"network {label} must give N x classes, but gives {told} for {found.batch or SAMPLES} "
            "images"
        )
    try:
        given = _logits(model, images[:SAMPLES], label)
        fits = given.shape == (SAMPLES, expected.shape[1])
    except InputError:
        if found.batch is None:
            raise
        fits = False
    if not fits:
        raise InputError(
            f"network {label} must take any number of images at once, but its batch size "
            f"{found.batch} is written into its layers; export it with a dynamic batch axis"
        )
    if not np.isfinite(expected).all():
        raise InputError(f"network {label} must give finite numbers, but did not for random images")
    common = min(len(expected), len(given))
    difference = float(np.abs(expected[:common] - given[:common]).max())
    if difference > TOLERANCE * max(float(np.abs(expected).max()), 1e-12):
        raise InputError(
            f"network {label} must keep its logits when constants are folded, but they differ by "
            f"{difference:.2g}; export it again, for inference and with opset 17"
        )
    return int(expected.shape[1])


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
