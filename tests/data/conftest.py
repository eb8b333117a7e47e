"""Small folders of images with maps, and the shared data where it is present."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

MakeImages = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"shared data is absent: no folder {SHARED_DATA.parent.name}/data")
    return SHARED_DATA


@pytest.fixture
def make_images(tmp_path: Path) -> MakeImages:
    """Make a folder of `count` random JPEGs and the maps that are given as text."""

    def make(count: int = 12, size: tuple[int, int] = (40, 30), **maps: str) -> Path:
        folder = tmp_path / "images"
        folder.mkdir()
        generator = np.random.default_rng(0)
        for index in range(count):
            pixels = generator.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.jpg")
        for name, text in maps.items():
            (folder / f"{name}_map.txt").write_text(text)
        return folder

    return make


def listed(first: int, end: int) -> str:
    """Map text for images `first..end-1`, their labels modulo 10."""
    return "".join(f"{index}.jpg\t{index % 10}\n" for index in range(first, end))
