"""The validation and calibration samples of a source, from its own data set or replaced ones.

A new set goes through by replacing images and map files where they were, or by naming others.
A map that is named is taken whole and in its order; one that is found beside the images is divided
into roles as for a search, so that the accuracy is of images that the search never saw.
"""

import os
from pathlib import Path

from autosinian.data import Dataset, MapFiles, open_dataset
from autosinian.data.arrays import Arrays
from autosinian.errors import InputError
from autosinian.export.validation import content_of
from autosinian.mlperf.source import Source

MAPPED = ("imagenet", "folder")

_NOTHING = Path(os.devnull)


def validation_samples(
    source: Source, cache: Path, *, data: Path | None = None, val_map: Path | None = None
) -> Arrays:
    """The samples that accuracy and performance are measured on, preprocessed below `cache`.

    `data` replaces the recorded place of the images, `val_map` names a map of which every line is
    a sample. Raises `InputError` for images or labels that are not there.
    """
    whole = val_map is not None
    maps = MapFiles(val=val_map, cal=_NOTHING, train=_NOTHING, search=_NOTHING) if whole else None
    dataset = _open(source, data, maps, "--val-map")
    limit = None if whole else source.data["limit"]
    return dataset.arrays("validation", source.preprocessing, cache, limit)


def calibration_samples(
    source: Source,
    cache: Path,
    *,
    data: Path | None = None,
    cal_map: Path | None = None,
    limit: int | None = None,
) -> Arrays:
    """The images that ranges are collected on, preprocessed below `cache`; labels are not needed.

    Of `cal_map` every line is taken, in its order, or the first `limit` of a fixed shuffle.
    """
    whole = cal_map is not None
    maps = MapFiles(val=_NOTHING, cal=cal_map, train=_NOTHING, search=_NOTHING) if whole else None
    dataset = _open(source, data, maps, "--cal-map")
    return dataset.arrays("calibration", source.preprocessing, cache, limit)


def same_as_exported(source: Source, arrays: Arrays) -> bool:
    """Whether the samples are those that the bundle's accuracy was measured on, by content."""
    if source.bundle is None:
        return False
    if source.data.get("key") == arrays.key:
        return True
    # A copied data set has other dates, and so another key.
    return all(source.data.get(name) == digest for name, digest in content_of(arrays).items())


def _open(source: Source, data: Path | None, maps: MapFiles | None, option: str) -> Dataset:
    name = source.data["name"]
    if maps is not None and name not in MAPPED:
        # Images with a map are another data set than the one that was searched on.
        name = "folder"
        if data is None:
            raise InputError(f"`{option}` needs the folder of its images: name it with `--data`")
    recorded = Path(source.data["path"]) if source.data["path"] else None
    path = data or recorded
    if path is None and name in MAPPED:
        raise InputError(
            f"`{source.folder}` needs images: name their folder, which holds val_map.txt, with "
            "`--data`"
        )
    return open_dataset(name, path, maps=maps)
