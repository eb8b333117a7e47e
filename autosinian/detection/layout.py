"""The two geometries of SSD-ResNet34: 300 x 300 (MLPerf training) and 1200 x 1200 (MLPerf
inference)."""

from dataclasses import dataclass

from autosinian.errors import InputError

BOX_SHAPES = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
"""Aspect ratios of the default boxes of each feature map, beside 1; each is used both ways."""

BOXES_PER_CELL = tuple(2 + 2 * len(shapes) for shapes in BOX_SHAPES)
"""Default boxes of a cell of each feature map: 4, 6, 6, 6, 4, 4."""

BOX_SIZES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
"""Side of the square default box of each feature map, and of the next, as a part of the image's
side (21, 45, 99, 153, 207, 261, 315 pixels of 300)."""


@dataclass(frozen=True)
class Layout:
    """Strides and grids of one input size.

    `block_strides` are those of the first four additional blocks, `head_stride` that of all box
    and score convolutions, `feature_maps` the sides of the six feature maps, `grids` the sides of
    the heads' outputs, and `cells` the number of cells a side by which default boxes are centred
    (for 300 pixels 300 / 8, 300 / 16, ...: not whole).
    """

    image_size: int
    head_stride: int
    block_strides: tuple[int, int, int, int]
    feature_maps: tuple[int, ...]
    grids: tuple[int, ...]
    cells: tuple[float, ...]

    @property
    def boxes(self) -> int:
        """The number of default boxes."""
        return sum(
            count * side * side for count, side in zip(BOXES_PER_CELL, self.grids, strict=True)
        )


LAYOUTS = {
    300: Layout(
        image_size=300,
        head_stride=1,
        block_strides=(2, 2, 2, 1),
        feature_maps=(38, 19, 10, 5, 3, 1),
        grids=(38, 19, 10, 5, 3, 1),
        cells=tuple(300 / step for step in (8, 16, 32, 64, 100, 300)),
    ),
    1200: Layout(
        image_size=1200,
        head_stride=3,
        block_strides=(2, 2, 2, 2),
        feature_maps=(150, 75, 38, 19, 9, 7),
        grids=(50, 25, 13, 7, 3, 3),
        cells=(50, 25, 13, 7, 3, 3),
    ),
}


def layout_for(image_size: int) -> Layout:
    """The layout of square images of `image_size` pixels.

    Raises `InputError` for a size that SSD-ResNet34 is not defined for.
    """
    if image_size not in LAYOUTS:
        sizes = " or ".join(str(size) for size in LAYOUTS)
        raise InputError(f"the image size must be {sizes} pixels, but got {image_size}")
    return LAYOUTS[image_size]
