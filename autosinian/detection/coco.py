"""COCO: one JSON file of images, boxes and categories, and a folder of images."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from autosinian.detection.annotations import AnnotatedImage, AnnotatedImages, check_box, open_tree
from autosinian.errors import InputError


def read_coco(
    annotations: Path, images: Path, class_names: tuple[str, ...] | None = None
) -> AnnotatedImages:
    """The boxes of a COCO instances file, with images in a folder or a tar archive.

    Class 1 is the category of the lowest id, as the published checkpoint numbers them, or the
    first of `class_names`. Boxes without area are left out and told. Raises `InputError`, which
    names file and box, for what cannot be used.
    """
    document = _document(annotations)
    categories = sorted(_entries(annotations, document, "categories"), key=lambda item: item["id"])
    names = class_names or tuple(str(item.get("name", item["id"])) for item in categories)
    label_of = {}
    for item in categories:
        name = str(item.get("name", item["id"]))
        if name not in names:
            raise InputError(
                f"{annotations}, category {item['id']} ({name}): must be one of {', '.join(names)}"
            )
        label_of[item["id"]] = names.index(name) + 1
    tree = open_tree(images)
    present = set(tree.names())
    entries = {item["id"]: item for item in _entries(annotations, document, "images")}
    boxes_of: dict[Any, list[tuple[Any, ...]]] = {identity: [] for identity in entries}
    dropped = []
    for item in _entries(annotations, document, "annotations"):
        where = f"{annotations}, annotation {item['id']}"
        entry = entries.get(item.get("image_id"))
        if entry is None:
            raise InputError(f"{where}: its image {item.get('image_id')} is not in `images`")
        if item.get("category_id") not in label_of:
            raise InputError(f"{where}: its category {item.get('category_id')} is not there")
        try:
            x, y, width, height = (float(value) for value in item["bbox"])
            sides = int(entry["width"]), int(entry["height"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: `bbox` must be x, y, width, height") from error
        box = (x, y, x + width, y + height)
        reason = check_box(where, box, *sides)
        if reason is not None:
            dropped.append(reason)
            continue
        area = float(item.get("area", width * height))
        crowd = bool(item.get("iscrowd", 0))
        boxes_of[entry["id"]].append((box, label_of[item["category_id"]], area, crowd))
    if not entries:
        raise InputError(f"{annotations} must name images, but names none")
    found = []
    for identity in sorted(entries):
        found.append(_image(annotations, entries[identity], boxes_of[identity], present))
    return AnnotatedImages(tree, names, tuple(found), tuple(dropped))


def _image(
    annotations: Path, entry: dict[str, Any], boxes: list[tuple[Any, ...]], present: set[str]
) -> AnnotatedImage:
    where = f"{annotations}, image {entry['id']}"
    try:
        identity = int(entry["id"])
        file, width, height = str(entry["file_name"]), int(entry["width"]), int(entry["height"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} must have `id`, `file_name`, `width`, `height`") from error
    if file not in present:
        raise InputError(f"{where}: its file `{file}` is not there")
    corners = np.array([box for box, *_ in boxes], np.float64).reshape(-1, 4)
    return AnnotatedImage(
        identity=identity,
        file=file,
        width=width,
        height=height,
        boxes=corners.clip(0, [width, height, width, height]),
        labels=np.array([label for _, label, _, _ in boxes], np.int64),
        areas=np.array([area for _, _, area, _ in boxes], np.float64),
        crowd=np.array([crowd for *_, crowd in boxes], bool),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"annotations {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"annotations {path} must be JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"annotations {path} must be a JSON object with `images`")
    return document


def _entries(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = document.get(key)
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and "id" in item for item in items
    ):
        raise InputError(f"annotations {path}: `{key}` must be a list of objects with an `id`")
    return items
