"""From a candidate's network and precision to one ONNX file, each step kept by content key."""

from abc import ABC, abstractmethod
from importlib.metadata import version
from pathlib import Path

from autosinian.content import content_key
from autosinian.evaluate.arrays import ArrayCache
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.qdq import quantize
from autosinian.quantize.ranges import write_ranges
from autosinian.space.candidate import Candidate, Quantization, Subnet
from autosinian.supernet import Cost

CALIBRATOR_CACHE = "calibrator.cache"
PREPARED_BY = ("torch", "onnx", "onnxruntime")


class Networks(ABC):
    """Makes the ONNX files of candidates below `folder`; `sha256` is that of what they come from.

    There are three: of a supernet's subnets, of one fixed network, and of one model of integers,
    which has a form of its own in place of ONNX.
    """

    model_name = "model.onnx"
    """What the file that engines are built from is called in a bundle."""

    def __init__(self, sha256: str, arrays: ArrayCache, folder: Path) -> None:
        self._sha256 = sha256
        self._arrays = arrays
        self._folder = folder
        self._versions = {name: version(name) for name in PREPARED_BY}

    @property
    def task(self) -> dict[str, int | str]:
        """The task as jobs tell it; empty is classification."""
        return {}

    @abstractmethod
    def cost(self, subnet: Subnet) -> Cost:
        """Multiply-adds and parameters."""

    @abstractmethod
    def write_config(self, subnet: Subnet, folder: Path) -> None:
        """Write what tells the architecture of a trial, where there is a form for it."""

    @abstractmethod
    def write_network(self, subnet: Subnet, folder: Path) -> None:
        """Write what the ONNX of a bundle can be made from again."""

    @abstractmethod
    def float_keys(self, resolution: int) -> dict[str, str]:
        """Content keys of the samples that shape the fp32 network, by role."""

    @abstractmethod
    def write_float(self, subnet: Subnet, path: Path) -> None:
        """Write the fp32 ONNX."""

    def data_keys(self, candidate: Candidate) -> dict[str, str]:
        """Content keys of the samples that shape the network, by role."""
        resolution = candidate.subnet.resolution
        keys = self.float_keys(resolution)
        if candidate.quantization.precision == "int8":
            keys["calibration"] = self._arrays.get("calibration", resolution).key
        return keys

    def key(self, candidate: Candidate) -> str:
        """Content key of the candidate's ONNX file."""
        int8 = candidate.quantization.precision == "int8"
        return content_key(
            self._sha256,
            candidate.subnet.key,
            candidate.quantization.calibration if int8 else "none",
            self.data_keys(candidate),
            self._versions,
        )

    def model(self, candidate: Candidate) -> Path:
        """The ONNX file: fp32, or explicit Q/DQ where the precision is int8."""
        path = self._folder / f"{self.key(candidate)}.onnx"
        if path.exists():
            return path
        if candidate.quantization.precision != "int8":
            self.write_float(candidate.subnet, path)
            return path
        source = self.model(Candidate(candidate.subnet, Quantization(), candidate.engine))
        inputs = self._arrays.get("calibration", candidate.subnet.resolution).open_inputs()
        ranges = collect_ranges(source, inputs, candidate.quantization.calibration)
        write_ranges(self.calibrator_cache(candidate), ranges)
        quantize(source, ranges, path)
        return path

    def calibration_files(self, candidate: Candidate) -> dict[str, Path]:
        """What a bundle keeps of how an int8 candidate was quantized, by its name there."""
        return {CALIBRATOR_CACHE: self.calibrator_cache(candidate)}

    def calibrator_cache(self, candidate: Candidate) -> Path:
        """Where the ranges of an int8 candidate are kept, in TensorRT's form."""
        return self._folder / f"{self.key(candidate)}.calibrator.cache"
