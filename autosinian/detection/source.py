"""Annotated images from what a user names: a COCO file with its images, or a VOC data set."""

from pathlib import Path

from autosinian.detection.annotations import AnnotatedImages
from autosinian.detection.coco import read_coco
from autosinian.detection.voc import read_voc
from autosinian.errors import InputError


def open_annotated(
    annotations: Path,
    images: Path | None = None,
    *,
    split: str | None = None,
    class_names: tuple[str, ...] | None = None,
) -> AnnotatedImages:
    """Read a `.json` file as COCO with `images`, a folder or tar archive as VOC with `split`.

    `class_names` (class 1 first) are those of a detector; without them the source's own count.
    Raises `InputError` where a part is missing or cannot be used.
    """
    if annotations.suffix.lower() == ".json":
        if images is None:
            raise InputError(f"COCO annotations {annotations} need the folder of their images")
        if split is not None:
            raise InputError(f"COCO annotations {annotations} are one split: leave out `{split}`")
        return read_coco(annotations, images, class_names)
    if images is not None:
        raise InputError(
            f"the VOC data set {annotations} holds its images: leave out {images}, or name a "
            "COCO `.json` file"
        )
    return read_voc(annotations, split or "val", class_names)
