"""Pascal VOC: a folder of images, one XML file of boxes an image, text files of splits."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath

import numpy as np

from autosinian.detection.annotations import (
    AnnotatedImage,
    AnnotatedImages,
    FileTree,
    check_box,
    open_tree,
)
from autosinian.errors import InputError

SPLITS = "ImageSets/Main"
ANNOTATIONS = "Annotations"
IMAGES = "JPEGImages"

Object = tuple[str, tuple[float, float, float, float]]


def read_voc(path: Path, split: str, class_names: tuple[str, ...] | None = None) -> AnnotatedImages:
    """One split of a VOC data set in a folder or a tar archive.

    The set is the first folder that holds `ImageSets/Main/<split>.txt`. Classes are `class_names`,
    or all names of all its annotation files, sorted, so that every split has the same. Boxes
    without area are left out and told. Raises `InputError`, which names file and box, for what
    cannot be used.
    """
    tree = open_tree(path)
    names = tree.names()
    root = _root(tree, names, split)
    files = {PurePosixPath(n).stem: n for n in names if n.startswith(f"{root}{IMAGES}/")}
    prefix = f"{root}{ANNOTATIONS}/"
    if class_names is None:
        found = {
            name
            for file in names
            if file.startswith(prefix) and file.endswith(".xml")
            for name, _ in _objects(tree, file)[1]
        }
        class_names = tuple(sorted(found))
    if not class_names:
        raise InputError(f"{tree.label}/{prefix} must hold annotations with objects, but has none")
    images: list[AnnotatedImage] = []
    dropped: list[str] = []
    present = set(names)
    for line in tree.read(f"{root}{SPLITS}/{split}.txt").decode("utf-8", "replace").split("\n"):
        if not (identity := line.split(" ")[0].strip()):
            continue
        annotation = f"{prefix}{identity}.xml"
        if annotation not in present:
            raise InputError(
                f"{tree.label}: split `{split}` names `{identity}`, but {annotation} is not there"
            )
        if identity not in files:
            raise InputError(f"{tree.label}/{annotation}: its image is not in {root}{IMAGES}")
        image, left_out = _image(tree, annotation, files[identity], class_names, len(images) + 1)
        images.append(image)
        dropped += left_out
    if not images:
        raise InputError(f"{tree.label}: split `{split}` must name images, but is empty")
    return AnnotatedImages(tree, class_names, tuple(images), tuple(dropped))


def _root(tree: FileTree, names: list[str], split: str) -> str:
    ending = f"{SPLITS}/{split}.txt"
    for name in names:
        if name == ending or name.endswith(f"/{ending}"):
            return name.removesuffix(ending)
    there = sorted({PurePosixPath(n).stem for n in names if f"{SPLITS}/" in n})
    raise InputError(
        f"{tree.label} must hold {ending}, but has "
        + (f"only the splits {', '.join(there)}" if there else f"no {SPLITS} folder")
    )


def _image(
    tree: FileTree, annotation: str, file: str, class_names: tuple[str, ...], identity: int
) -> tuple[AnnotatedImage, list[str]]:
    (width, height), objects = _objects(tree, annotation)
    boxes, labels, dropped = [], [], []
    for number, (name, box) in enumerate(objects, start=1):
        where = f"{tree.label}/{annotation}, object {number} ({name})"
        if name not in class_names:
            raise InputError(f"{where}: its class must be one of {', '.join(class_names)}")
        reason = check_box(where, box, width, height)
        if reason is not None:
            dropped.append(reason)
            continue
        boxes.append(box)
        labels.append(class_names.index(name) + 1)
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    corners = corners.clip(0, [width, height, width, height])
    image = AnnotatedImage(
        identity=identity,
        file=file,
        width=width,
        height=height,
        boxes=corners,
        labels=np.array(labels, np.int64),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        crowd=np.zeros(len(labels), bool),
    )
    return image, dropped


def _objects(tree: FileTree, annotation: str) -> tuple[tuple[int, int], list[Object]]:
    """Width and height of the image, and its objects in the file's order."""
    where = f"{tree.label}/{annotation}"
    content = tree.read(annotation)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InputError(f"{where} must not declare a document type or entities")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise InputError(f"{where} must be XML: {error}") from error
    width, height = (round(_number(root, f"size/{side}", where)) for side in ("width", "height"))
    objects = []
    for number, item in enumerate(root.iter("object"), start=1):
        label = f"{where}, object {number}"
        name = (item.findtext("name") or "").strip()
        if not name:
            raise InputError(f"{label} must have a name")
        left, top, right, bottom = (
            _number(item, f"bndbox/{side}", label) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        objects.append((name, (left, top, right, bottom)))
    return (width, height), objects


def _number(element: ElementTree.Element, tag: str, where: str) -> float:
    text = element.findtext(tag)
    try:
        return float(text or "")
    except ValueError as error:
        told = "is not there" if text is None else f"is `{text}`"
        raise InputError(f"{where}: `{tag}` must be a number, but {told}") from error
