"""From a candidate's subnet and precision to one ONNX file, each step kept by content key."""

from importlib.metadata import version
from pathlib import Path

import torch

from autosinian.content import content_key
from autosinian.evaluate.arrays import ArrayCache
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.export import export_onnx
from autosinian.quantize.qdq import quantize
from autosinian.quantize.ranges import write_ranges
from autosinian.space.candidate import Candidate, Subnet
from autosinian.supernet import Cost, Supernet, cost, recalibrate_batch_norm, write_config

PREPARED_BY = ("torch", "onnx", "onnxruntime")


class Networks:
    """Makes the ONNX files of candidates below `folder`."""

    def __init__(self, supernet: Supernet, arrays: ArrayCache, folder: Path) -> None:
        self._supernet = supernet
        self._arrays = arrays
        self._folder = folder
        self._versions = {name: version(name) for name in PREPARED_BY}
        self._costs: dict[Subnet, Cost] = {}
        self._last: tuple[Subnet, torch.nn.Module] | None = None

    def cost(self, subnet: Subnet) -> Cost:
        """Multiply-adds and parameters."""
        if subnet not in self._costs:
            self._costs[subnet] = cost(self._supernet.extract(subnet), subnet.resolution)
        return self._costs[subnet]

    def module(self, subnet: Subnet) -> torch.nn.Module:
        """The subnet in eval mode, its batch norm recalibrated at its resolution."""
        if self._last is None or self._last[0] != subnet:
            module = self._supernet.extract(subnet)
            images = self._arrays.get("batch_norm", subnet.resolution).open_inputs()
            recalibrate_batch_norm(module, images)
            self._last = (subnet, module)
        return self._last[1]

    def write_config(self, subnet: Subnet, folder: Path) -> None:
        """Write the subnet's `net.config`."""
        write_config(folder, self._supernet.extract(subnet), subnet.resolution)

    def data_keys(self, candidate: Candidate) -> dict[str, str]:
        """Content keys of the samples that shape the network, by role."""
        resolution = candidate.subnet.resolution
        keys = {"batch_norm": self._arrays.get("batch_norm", resolution).key}
        if candidate.quantization.precision == "int8":
            keys["calibration"] = self._arrays.get("calibration", resolution).key
        return keys

    def key(self, candidate: Candidate) -> str:
        """Content key of the candidate's ONNX file."""
        int8 = candidate.quantization.precision == "int8"
        return content_key(
            self._supernet.sha256,
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
            export_onnx(self.module(candidate.subnet), candidate.subnet.resolution, path)
            return path
        float_candidate = Candidate(
            candidate.subnet, type(candidate.quantization)(), candidate.engine
        )
        source = self.model(float_candidate)
        inputs = self._arrays.get("calibration", candidate.subnet.resolution).open_inputs()
        ranges = collect_ranges(source, inputs, candidate.quantization.calibration)
        write_ranges(self.calibrator_cache(candidate), ranges)
        quantize(source, ranges, path)
        return path

    def calibrator_cache(self, candidate: Candidate) -> Path:
        """Where the ranges of an int8 candidate are kept, in TensorRT's form."""
        return self._folder / f"{self.key(candidate)}.calibrator.cache"
