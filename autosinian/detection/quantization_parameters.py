"""What a quantization was made with: plain JSON, written beside its files."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.detection.quantization import (
    ChosenExceptions,
    QuantizationOptions,
    QuantizedDetector,
)
from autosinian.detection.suppression import Suppression
from autosinian.encodings.encoding import BIAS_LABEL, BITS
from autosinian.encodings.exceptions import Exceptions
from autosinian.errors import InputError

FORMAT = "autosinian.ssd-quantization/1"


def parameters_of(
    arguments: argparse.Namespace,
    quantized: QuantizedDetector,
    exceptions: Exceptions,
    options: QuantizationOptions,
    chosen: ChosenExceptions | None,
    started: float,
) -> dict[str, Any]:
    """The parameters of a run; `started` is seconds since 1970."""
    config = quantized.detector.network.config
    rule = Suppression()
    parameters: dict[str, Any] = {
        "format": FORMAT,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "seconds": round(time.time() - started, 1),
        "model": {
            "file": str(arguments.model),
            "sha256": file_sha256(arguments.model),
            "classes": config.classes,
            "width": config.width,
            "input_shape": [1, 3, config.image_size, config.image_size],
        },
        "calibration": {
            "annotations": str(arguments.annotations),
            "images_in": None if arguments.images is None else str(arguments.images),
            "split": arguments.split,
            "images": quantized.images,
            "method": options.method,
            "percentile": options.percentile if options.method == "percentile" else None,
        },
        "equalization": {
            "batch_norms_folded": len(quantized.equalized.norms),
            "pairs_scaled": len(quantized.equalized.pairs),
            "high_biases_folded": len(quantized.equalized.high_biases),
            "across_padding": options.across_padding,
        },
        "bitwidths": {"activations": BITS, "weights": BITS, "biases": BIAS_LABEL},
        "rounding": "nearest",
        "configuration_file": None if arguments.config is None else str(arguments.config),
        "configuration": options.configuration.model_dump(mode="json", exclude_none=True),
        "exceptions": exceptions.to_dict(),
        "suppression": {
            "score": rule.score,
            "overlap": rule.overlap,
            "candidates": rule.candidates,
            "kept": rule.kept,
        },
        "versions": {name: version(name) for name in ("autosinian", "torch", "onnx", "numpy")},
    }
    if chosen is not None:
        parameters["chosen_on"] = _chosen(arguments, chosen)
    return parameters


def read_parameters(path: Path) -> dict[str, Any]:
    """Read the file that `ssd quantize` wrote; raises `InputError` for any other."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{path} must be a parameters file that can be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a JSON file, but: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} must be a `_params.json` that `autosinian ssd quantize` wrote")
    return content


def lines(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """One `name: value` a line, with dots between nested names."""
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from lines(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            yield f"{name}: {', '.join(value)}"
        else:
            yield f"{name}: {json.dumps(value)}"


def _chosen(arguments: argparse.Namespace, chosen: ChosenExceptions) -> dict[str, Any]:
    return {
        "annotations": str(arguments.choose_on[0]),
        "split": arguments.choose_split,
        "target": arguments.target,
        "fp32_map": chosen.float_map,
        "int8_map": chosen.choice.accuracy,
        "reached": chosen.choice.reached,
        "tried": [
            {"map": found, "exceptions": exceptions.to_dict()}
            for exceptions, found in chosen.choice.tried
        ],
        "sensitivities": [
            {"kind": item.kind, "name": item.name, "noise": item.noise, "gain": item.gain}
            for item in chosen.choice.sensitivities
        ],
    }
