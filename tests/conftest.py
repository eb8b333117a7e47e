"""Settings of all tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Tests that start processes of their own import from `tests` there too, whatever their folder.
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)

# The machine's cores are shared by test, worker and whatever else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without a GPU triton's kernels are interpreted, which is settled where triton is first imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from hypothesis import settings

from autosinian.errors import AutosinianError
from autosinian.native.compile import compile_sut

# No deadline: how long one example takes says nothing on a busy machine.
settings.register_profile("autosinian", deadline=None, max_examples=60)
settings.load_profile("autosinian")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """LoadGen with our systems under test, in a cache of its own that workers find too."""
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    try:
        try:
            path = compile_sut(optimization="-O0")
        except AutosinianError as error:
            pytest.skip(f"needs LoadGen's sources: {error}")
        yield path
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
