"""The samples of a source made ready beforehand, where `run` and `calibrate` look for them."""

from pathlib import Path

from autosinian.data.arrays import Arrays
from autosinian.mlperf.samples import calibration_samples, validation_samples
from autosinian.mlperf.source import Source


def preprocess(
    source: Source,
    folder: Path,
    *,
    roles: tuple[str, ...],
    data: Path | None = None,
    val_map: Path | None = None,
    cal_map: Path | None = None,
    limit: int | None = None,
) -> dict[str, Arrays]:
    """Arrays below `folder` by role, `validation` and `calibration` as asked."""
    made: dict[str, Arrays] = {}
    if "validation" in roles:
        made["validation"] = validation_samples(source, folder, data=data, val_map=val_map)
    if "calibration" in roles:
        made["calibration"] = calibration_samples(
            source, folder, data=data, cal_map=cal_map, limit=limit
        )
    return made
