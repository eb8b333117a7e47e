"""The published model, unpacked once where the shared data folder is there."""

import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "nvidia_int4_resnet50.tar.xz"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `model/` and the three autoconfig files; not to be changed."""
    if not ARCHIVE.is_file():
        pytest.skip(f"the published INT4 ResNet-50 is not there: {ARCHIVE.name}")
    folder = tmp_path_factory.mktemp("published")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder
