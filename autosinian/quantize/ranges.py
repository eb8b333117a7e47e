"""The result of a calibration: one symmetric range per tensor, and its file form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosinian.errors import InputError
from autosinian.quantize.calibrator_cache import (
    CalibratorCache,
    legacy_header,
    read_calibrator_cache,
    write_calibrator_cache,
)

LEVELS = 127  # symmetric INT8: a range is scale x 127

# TensorRT's names of the calibrators; 8601 is the first version of TensorRT 8.6 for all platforms.
_HEADERS = {"minmax": "TRT-8601-MinMaxCalibration", "entropy": "TRT-8601-EntropyCalibration2"}


@dataclass(frozen=True)
class Ranges:
    """Scale of each quantized tensor (range = scale x 127), float32, and the method behind it.

    `percentile` is None unless the method is `percentile`.
    """

    method: str
    scales: Mapping[str, np.float32]
    percentile: float | None = None


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write a `calibrator.cache`; `percentile` is TensorRT's legacy calibrator with a quantile."""
    header = _HEADERS.get(ranges.method)
    if header is None:
        header = legacy_header((ranges.percentile or 100.0) / 100.0)
    write_calibrator_cache(path, CalibratorCache.make(header, ranges.scales))


def read_ranges(path: Path) -> Ranges:
    """Read the scales of any `calibrator.cache`.

    Raises `InputError` where a scale is not a positive number.
    """
    cache = read_calibrator_cache(path)
    scales = cache.scales
    for name, scale in scales.items():
        if not (np.isfinite(scale) and scale > 0):
            raise InputError(f"{path}: the scale of `{name}` must be above 0, but is {scale}")
    if cache.quantile is not None:
        return Ranges("percentile", scales, cache.quantile * 100.0)
    return Ranges("minmax" if "MinMax" in cache.algorithm else "entropy", scales)
