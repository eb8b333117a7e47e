"""What `ssd quantize` writes, and reading it back."""

import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import fx

from autosinian.content import atomic_file, file_sha256, write_json
from autosinian.detection.checkpoint import Detector
from autosinian.detection.export import OUTPUT_NAMES, describe
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.detection.quantization import QuantizedDetector
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.export import export_named, write_onnx
from autosinian.encodings.files import read_encodings, write_encodings
from autosinian.encodings.qdq import ENGINES, quantize_onnx
from autosinian.encodings.simulate import simulate
from autosinian.equalize.equalize import folded
from autosinian.errors import InputError

FORMAT = "autosinian.ssd-folded/1"


def write_quantized(
    folder: Path, prefix: str, quantized: QuantizedDetector, exceptions: Exceptions
) -> dict[str, Path]:
    """Write `<prefix>.onnx` (fp32), `.pth`, `.encodings`, `.encodings.yaml`, and for each engine
    `<prefix>_<engine>.onnx` with Q/DQ; gives them by what they are called here."""
    network = quantized.calibrated.network
    config, names = quantized.detector.network.config, quantized.detector.class_names
    encodings = quantized.encodings(exceptions)
    files = {"onnx": folder / f"{prefix}.onnx", "pth": folder / f"{prefix}.pth"}
    model = export_named(network, (3, config.image_size, config.image_size), OUTPUT_NAMES)
    describe(model, config, names)
    write_onnx(model, files["onnx"])
    for engine in ENGINES:
        files[engine] = folder / f"{prefix}_{engine}.onnx"
        write_onnx(quantize_onnx(model, encodings, engine=engine), files[engine])
    document = {
        "format": FORMAT,
        "config": asdict(config),
        "class_names": list(names),
        "state": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
    }
    with atomic_file(files["pth"]) as temporary:
        torch.save(document, temporary)
    both = write_encodings(folder / f"{prefix}.encodings", encodings)
    return files | dict(zip(("encodings", "encodings.yaml"), both, strict=True))


def open_simulated(path: Path) -> tuple[fx.GraphModule, Detector]:
    """Simulated INT8 from a `.pth` and the `.encodings` beside it, and the detector they are of.

    The detector's network is one with random weights: only its configuration counts. Raises
    `InputError` where either file cannot be used, or they do not belong together.
    """
    network, detector = load_folded(path)
    return simulate(network, read_encodings(path.with_suffix(".encodings"))), detector


def load_folded(path: Path) -> tuple[fx.GraphModule, Detector]:
    """The folded float network of a `.pth` that `write_quantized` wrote."""
    try:
        document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"detector {path} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"detector {path} must be plain tensors, but: {reason}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path} must be the .pth of `autosinian ssd quantize`")
    try:
        config = SsdConfig(**document["config"])
        detector = Detector(SsdResNet34(config), tuple(map(str, document["class_names"])))
        network = folded(detector.network).network
        network.load_state_dict(document["state"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"detector {path} must fit its configuration, but: {reason}") from error
    return network, detector


def write_parameters(path: Path, parameters: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Write a run's parameters as JSON, with the hash of each file it made."""
    made = {key: {"name": file.name, "sha256": file_sha256(file)} for key, file in files.items()}
    write_json(path, {**parameters, "files": made})
