import math
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.content import (
    atomic_file,
    atomic_folder,
    canonical_json,
    content_key,
    file_sha256,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert content_key(value) == content_key(backwards)


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_different_values_have_different_keys(one: list[str], other: list[str]) -> None:
    assert (content_key(one) == content_key(other)) == (one == other)


def test_how_parts_are_cut_matters() -> None:
    assert content_key("ab", "c") != content_key("a", "bc")
    assert len(content_key()) == 32


def test_not_a_number_has_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(math.nan)


def test_a_file_hash_is_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert file_sha256(path).startswith("ba7816bf")


def test_an_atomic_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.json"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    assert names(path.parent) == ["x.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.json"]


def test_an_atomic_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "half").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == []
    with atomic_folder(path) as temporary:
        (temporary / "whole").write_text("x")
        assert not path.exists()
    assert names(tmp_path) == ["bundle"]
    assert (path / "whole").read_text() == "x"


def test_an_atomic_folder_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "mine").write_text("x")
    with pytest.raises(FileExistsError), atomic_folder(path) as temporary:
        (temporary / "other").write_text("y")
    assert names(tmp_path) == ["bundle"]
    assert names(path) == ["mine"]


def test_json_is_written_sorted(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [1.5]})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    1.5\n  ],\n  "b": 1\n}\n'
