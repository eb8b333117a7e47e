"""A small VOC data set, drawn: bright discs of two sizes on a dark ground."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("large", "small")
SIZE = (160, 120)

Box = tuple[str, tuple[float, float, float, float]]


def write_set(root: Path, splits: dict[str, int], seed: int = 0) -> Path:
    """Images and boxes of the named splits, so many each, below `root`."""
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        names = []
        for index in range(count):
            name = f"{split}_{index:03d}"
            boxes: list[Box] = []
            image = Image.new("RGB", SIZE, (40, 20, 30))
            draw = ImageDraw.Draw(image)
            for label, side in (("large", 60), ("small", 24)):
                x = float(rng.integers(2, SIZE[0] - side - 2))
                y = float(rng.integers(2, SIZE[1] - side - 2))
                box = (x, y, x + side, y + side)
                draw.ellipse(box, fill=(200, 80, 90) if label == "large" else (90, 200, 220))
                boxes.append((label, box))
            write_image(root, name, boxes, image)
            names.append(name)
        write_split(root, split, names)
    return root


def write_split(root: Path, split: str, names: Sequence[str]) -> None:
    """The list of a split's images."""
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text("\n".join(names) + "\n")


def write_image(
    root: Path, name: str, boxes: Sequence[Box], image: Image.Image | None = None
) -> None:
    """One image and its annotation."""
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    image = image or Image.new("RGB", SIZE)
    image.save(root / "JPEGImages" / f"{name}.png")
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left:g}</xmin><ymin>{top:g}</ymin>"
        f"<xmax>{right:g}</xmax><ymax>{bottom:g}</ymax></bndbox></object>"
        for label, (left, top, right, bottom) in boxes
    )
    text = (
        f"<annotation><filename>{name}.png</filename><size><width>{image.width}</width>"
        f"<height>{image.height}</height><depth>3</depth></size>{objects}</annotation>"
    )
    (root / "Annotations" / f"{name}.xml").write_text(text)
