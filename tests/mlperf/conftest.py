import pytest

from autosinian.export.bundle import Bundle
from tests.mlperf.small_bundle import make_bundle


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle made by hand, quickly; not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    return make_bundle(folder / "best", folder / "arrays")
