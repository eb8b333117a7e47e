"""A detector's ONNX files: fp32, and INT8 equalized, with the exceptions a candidate asks for."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from autosinian.content import content_key, write_json
from autosinian.detection.export import OUTPUT_NAMES
from autosinian.detection.joined import join_outputs
from autosinian.detection.quantization import (
    QuantizationOptions,
    QuantizedDetector,
    quantize_on,
)
from autosinian.encodings.encoding import Encodings
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.export import export_named, write_onnx
from autosinian.encodings.files import write_encodings
from autosinian.encodings.qdq import quantize_onnx
from autosinian.encodings.sensitivity import measure_sensitivity
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.fixed_network import FixedNetworks
from autosinian.network.detector import DetectorNetwork
from autosinian.space.candidate import Candidate

EQUALIZED = "equalized.onnx"
ENCODINGS = "model.encodings"
BATCH = 8
SENSITIVITY_IMAGES = 8
"""Calibration images on which layers are ranked; the order of the most sensitive is stable."""

DEFAULTS: dict[str, int | float | str | bool] = {
    "asymmetric": 0,
    "equalize": False,
    "float_layers": 0,
}
_RANKED = {"asymmetric": "asymmetric_activations", "float_layers": "higher_precision"}


class DetectorNetworks(FixedNetworks):
    """Makes the ONNX files of one detector.

    Layers are ranked by how much noise each exception takes from the outputs, on calibration
    images: neither the search's nor the final ones.
    """

    def __init__(self, network: DetectorNetwork, arrays: ArrayCache, folder: Path) -> None:
        super().__init__(network, arrays, folder)
        self._detector = network
        self._quantized: dict[tuple[bool, str], QuantizedDetector] = {}

    def key(self, candidate: Candidate) -> str:
        """Content key of the candidate's ONNX file."""
        if candidate.quantization.precision != "int8":
            return super().key(candidate)
        options, form = quantization_options(candidate), engine_form(candidate.engine.engine)
        return content_key(super().key(candidate), options, form)

    def model(self, candidate: Candidate) -> Path:
        """The ONNX file, of one output: fp32, or explicit Q/DQ where the precision is int8."""
        if candidate.quantization.precision != "int8":
            return super().model(candidate)
        path = self._folder / f"{self.key(candidate)}.onnx"
        if path.exists():
            return path
        quantized = self._quantize(candidate)
        encodings = quantized.encodings(self._exceptions(candidate, quantized))
        size = self._detector.config.image_size
        network = quantized.calibrated.network
        equalized = export_named(network, (3, size, size), OUTPUT_NAMES)
        files = self.calibration_files(candidate)
        write_onnx(equalized, files[EQUALIZED])
        write_encodings(files[ENCODINGS], encodings)
        model = quantize_onnx(equalized, encodings, engine=engine_form(candidate.engine.engine))
        write_onnx(join_outputs(model), path)
        return path

    def calibration_files(self, candidate: Candidate) -> dict[str, Path]:
        """The equalized fp32 network and the encodings."""
        key = self.key(candidate)
        return {
            EQUALIZED: self._folder / f"{key}.equalized.onnx",
            ENCODINGS: self._folder / f"{key}.encodings",
        }

    def _quantize(self, candidate: Candidate) -> QuantizedDetector:
        equalize = bool(quantization_options(candidate)["equalize"])
        method = candidate.quantization.calibration
        if (equalize, method) not in self._quantized:
            options = QuantizationOptions(method=method, equalize=equalize)
            images = self._arrays.get("calibration", candidate.subnet.resolution).open_inputs()
            detector = self._detector.detector
            self._quantized[equalize, method] = quantize_on(
                detector, _batches(images), options, total=len(images)
            )
        return self._quantized[equalize, method]

    def _exceptions(self, candidate: Candidate, quantized: QuantizedDetector) -> Exceptions:
        """The first of each ranking, as many as the candidate asks for."""
        options = quantization_options(candidate)
        lists = {}
        for name, kind in _RANKED.items():
            count = int(options[name])
            if count:
                lists[kind] = tuple(self._ranking(candidate, quantized, kind)[:count])
        return Exceptions(**lists)

    def _ranking(self, candidate: Candidate, quantized: QuantizedDetector, kind: str) -> list[str]:
        """Module names, the most sensitive first; kept on disk."""
        equalize = quantization_options(candidate)["equalize"]
        key = content_key(FixedNetworks.key(self, candidate), equalize, kind, SENSITIVITY_IMAGES)
        path = self._folder / f"{key}.ranking.json"
        if path.exists():
            return [str(name) for name in json.loads(path.read_text())]
        images = self._arrays.get("calibration", candidate.subnet.resolution).open_inputs()
        few = torch.from_numpy(np.array(images[:SENSITIVITY_IMAGES]))
        found = measure_sensitivity(quantized.calibrated, few, kinds=(kind,))
        names = [item.name for item in found]
        write_json(path, names)
        return names


def engine_form(engine: str) -> str:
    """The form of Q/DQ an engine reads: OpenVINO's own, else TensorRT's, which all read."""
    return "openvino" if engine == "openvino" else "tensorrt"


def quantization_options(candidate: Candidate) -> dict[str, int | float | str | bool]:
    """The candidate's options, with defaults for what its space does not name."""
    return DEFAULTS | dict(candidate.quantization.options)


def quantized_again(
    equalized: onnx.ModelProto, encodings: Encodings, engine: str
) -> onnx.ModelProto:
    """What `DetectorNetworks.model` writes, from the two files that a bundle keeps."""
    return join_outputs(quantize_onnx(equalized, encodings, engine=engine_form(engine)))


def _batches(images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(images), BATCH):
        yield np.array(images[start : start + BATCH])
