"""A torch classifier to one fp32 ONNX file that every engine reads and fuses."""

import copy
import io
import warnings
from pathlib import Path

import onnx
import torch

from autosinian.content import atomic_file
from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.simplify import simplify

OPSET = 17  # newest in which ReduceMean keeps its axes as an attribute: TensorRT 8.6 needs that
INPUT_NAME = "images"
OUTPUT_NAME = "logits"
BATCH_AXIS = "N"


def export_onnx(module: torch.nn.Module, resolution: int, path: Path) -> None:
    """Write `module` as fp32 ONNX: `images`, `N x 3 x r x r`, to `logits`, `N x classes`.

    Batch norm is folded into the convolutions, global average pooling is one node, and the same
    weights give the same bytes. `module` is left as it was. Raises `InputError` for a resolution
    that is not positive and `TrialFailure` where torch cannot trace the network.
    """
    if resolution < 1:
        raise InputError(f"`resolution >= 1` must hold, but got {resolution}: give it in pixels")
    network = copy.deepcopy(module).cpu().float().eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy exporter announces its own retirement
        try:
            torch.onnx.export(
                network,
                (torch.zeros(1, 3, resolution, resolution),),
                buffer,  # type: ignore[arg-type]  # the legacy exporter takes a stream
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_axes={INPUT_NAME: {0: BATCH_AXIS}, OUTPUT_NAME: {0: BATCH_AXIS}},
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = str(error).partition("\n")[0]
            raise TrialFailure("quantize", f"ONNX export at {resolution} px: {reason}") from error
    model = simplify(onnx.load_model_from_string(buffer.getvalue()))
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
