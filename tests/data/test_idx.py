import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autosinian.data.idx import read_idx, write_idx
from autosinian.errors import InputError


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    file = tmp_path_factory.mktemp("idx") / "values.gz"
    write_idx(file, values)
    assert np.array_equal(read_idx(file), values)


@given(st.integers(0, 200))
def test_a_file_cut_anywhere_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, keep: int
) -> None:
    file = tmp_path_factory.mktemp("idx") / "values.gz"
    write_idx(file, np.random.default_rng(0).integers(0, 256, (10, 20), np.uint8))
    content = file.read_bytes()
    file.write_bytes(content[: min(keep, len(content) - 1)])
    with pytest.raises(InputError) as raised:
        read_idx(file)
    assert "values.gz" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_with_bytes_missing_after_its_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "values"
    file.write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 5)) + b"abc")
    with pytest.raises(InputError, match="must hold 5 bytes after its header, but holds 3"):
        read_idx(file)


def test_floats_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "values.gz"
    file.write_bytes(gzip.compress(bytes((0, 0, 0x0D, 1, 0, 0, 0, 0))))
    with pytest.raises(InputError, match="idx file of unsigned bytes"):
        read_idx(file)


def test_an_absent_file_is_told() -> None:
    with pytest.raises(InputError, match=r"cannot read `absent\.gz`"):
        read_idx(Path("absent.gz"))
