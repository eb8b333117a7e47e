"""Each family's subnet, exported, calibrated and quantized once for all tests of this room."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.export import export_onnx
from autosinian.quantize.qdq import quantize
from autosinian.quantize.ranges import Ranges
from tests.quantize.networks import RESOLUTIONS, images, plain_network, subnet


@dataclass(frozen=True)
class Quantized:
    """One subnet with its fp32 and INT8 files and the images that calibrated it."""

    module: torch.nn.Module
    resolution: int
    fp32: Path
    int8: Path
    ranges: Ranges
    calibration: NDArray[np.float32]


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Quantized]:
    made: dict[str, Quantized] = {}

    def make(family: str) -> Quantized:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            resolution = RESOLUTIONS[family]
            module = subnet(family)
            fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
            export_onnx(module, resolution, fp32)
            calibration = images(64, 1, resolution)
            ranges = collect_ranges(fp32, calibration, "minmax")
            quantize(fp32, ranges, int8)
            made[family] = Quantized(module, resolution, fp32, int8, ranges, calibration)
        return made[family]

    return make


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """fp32 ONNX of `plain_network`, 16 px."""
    path = tmp_path / "plain.onnx"
    export_onnx(plain_network(), 16, path)
    return path
