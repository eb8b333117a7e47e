"""New ranges for a source's INT8: a `calibrator.cache` from any calibration images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.errors import InputError
from autosinian.evaluate.quiet import working
from autosinian.mlperf.networks import float_network
from autosinian.mlperf.places import arrays_folder, models_folder, writing_below
from autosinian.mlperf.samples import calibration_samples
from autosinian.mlperf.source import Source

FILE = "calibrator.cache"

# Names that Alibaba's and NVIDIA's harnesses give the algorithms, and their numbers in v0.7.
_ALGORITHMS = {
    **dict.fromkeys(("minmax", "min-max", "min_max", "3"), "minmax"),
    **dict.fromkeys(("entropy", "entropy-2", "1", "2"), "entropy"),
    "percentile": "percentile",
}


@dataclass(frozen=True)
class Calibrated:
    """What was written: `file` holds one scale for each of `tensors`, from `images` images."""

    file: Path
    algorithm: str
    images: int
    tensors: int
    key: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {**self.__dict__, "file": str(self.file)}


def algorithm_named(name: str) -> str:
    """`minmax`, `entropy` or `percentile`, whatever harness the name is of.

    Both entropy calibrators of TensorRT are one here. Raises `InputError` for another name.
    """
    if name.lower() not in _ALGORITHMS:
        raise InputError(f"`--algorithm` must be min-max, entropy or percentile, but got `{name}`")
    return _ALGORITHMS[name.lower()]


def default_file(source: Source, build: Path) -> Path:
    """Where the ranges of a source go unless told otherwise."""
    return build / "calibration" / source.name / FILE


def calibrate(
    source: Source,
    file: Path,
    build: Path,
    *,
    algorithm: str = "entropy",
    percentile: float | None = None,
    data: Path | None = None,
    cal_map: Path | None = None,
    limit: int | None = None,
) -> Calibrated:
    """Collect ranges on calibration images and write them to `file`, in TensorRT's form.

    Raises `InputError` for images that are not there and for a percentile that is none.
    """
    # Heavy: onnx and onnxruntime.
    from autosinian.quantize.calibrate import collect_ranges
    from autosinian.quantize.ranges import write_ranges
    from autosinian.quantize.threshold import PERCENTILE

    method = algorithm_named(algorithm)
    if percentile is not None and (method != "percentile" or not 0 < percentile <= 100):
        raise InputError(
            "`--percentile` must be above 0 and at most 100, and is for `--algorithm percentile`, "
            f"but got {percentile} with {algorithm}"
        )
    with writing_below(build):
        arrays = calibration_samples(
            source, arrays_folder(build), data=data, cal_map=cal_map, limit=limit
        )
        model = float_network(source, models_folder(build))
    with working():
        ranges = collect_ranges(
            model, arrays.open_inputs(), method, percentile=percentile or PERCENTILE
        )
    try:
        write_ranges(file, ranges)
    except OSError as error:
        raise InputError(f"`{file}` must be written, but: {error.strerror or error}") from error
    return Calibrated(file, method, arrays.samples, len(ranges.scales), arrays.key)
