"""A detector as ONNX: `images` to `boxes` and `scores`, softmax inside, suppression outside."""

import copy
import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import torch

from autosinian.content import atomic_file
from autosinian.detection.checkpoint import Detector
from autosinian.detection.network import SsdConfig
from autosinian.errors import AutosinianError, InputError
from autosinian.quantize.export import BATCH_AXIS, INPUT_NAME, OPSET
from autosinian.quantize.simplify import simplify

OUTPUT_NAMES = ("boxes", "scores")
METADATA = "autosinian.ssd"
"""Key of the file's metadata under which configuration and class names are kept, as JSON."""


def export_detector(detector: Detector, path: Path) -> None:
    """Write fp32 ONNX of any batch size: `images` `N x 3 x s x s` to `boxes` `N x 4 x boxes`
    (offsets) and `scores` `N x classes x boxes`.

    Batch norm is folded. Raises `AutosinianError` where torch cannot trace the network.
    """
    config = detector.network.config
    network = copy.deepcopy(detector.network).cpu().float().eval()
    buffer = io.BytesIO()
    names = (INPUT_NAME, *OUTPUT_NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy exporter announces its own retirement
        try:
            torch.onnx.export(
                network,
                (torch.zeros(1, 3, config.image_size, config.image_size),),
                buffer,  # type: ignore[arg-type]  # the legacy exporter takes a stream
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_axes={name: {0: BATCH_AXIS} for name in names},
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = str(error).partition("\n")[0]
            raise AutosinianError(f"the detector cannot be exported: {reason}") from error
    model = simplify(onnx.load_model_from_string(buffer.getvalue()))
    # torch leaves the sizes behind its reshapes open.
    sizes = (4, config.classes)
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, [BATCH_AXIS, size, config.layout.boxes]
        )
        for name, size in zip(OUTPUT_NAMES, sizes, strict=True)
    )
    onnx.checker.check_model(model)
    describe(model, config, detector.class_names)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def describe(model: onnx.ModelProto, config: SsdConfig, class_names: tuple[str, ...]) -> None:
    """Write into `model` what decoding its outputs needs."""
    kept = [item for item in model.metadata_props if item.key != METADATA]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps({"config": asdict(config), "class_names": class_names})


def described(model: onnx.ModelProto, label: str) -> tuple[SsdConfig, tuple[str, ...]]:
    """Configuration and class names of a detector's file.

    Raises `InputError`, which names `label`, where the file does not tell them.
    """
    for item in model.metadata_props:
        if item.key == METADATA:
            try:
                document = json.loads(item.value)
                names = tuple(str(name) for name in document["class_names"])
                return SsdConfig(**document["config"]), names
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{label} must describe its detector: {error}") from error
    raise InputError(
        f"{label} must be a detector's ONNX file with `{METADATA}` in its metadata, as "
        "`autosinian ssd export` writes it"
    )
