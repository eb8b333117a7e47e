import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.quantize.calibrator_cache import (
    CalibratorCache,
    legacy_header,
    read_calibrator_cache,
    write_calibrator_cache,
)

SHARED = Path(__file__).parents[2].parent / "shared/data/alibaba/v1.0/calibrator.cache"

names = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)
headers = st.one_of(
    st.builds(
        "TRT-{}-{}".format, st.integers(0, 99999), st.from_regex(r"[A-Za-z0-9]+", fullmatch=True)
    ),
    st.builds(legacy_header, st.floats(0, 1), st.floats(0, 1)),
)
caches = st.builds(
    CalibratorCache,
    headers,
    st.lists(st.tuples(names, st.from_regex(r"[0-9a-fA-F]{8}", fullmatch=True))).map(tuple),
    st.booleans(),
)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_file(), reason=f"needs {SHARED.name} in the shared data folder")
def test_the_published_cache_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cache = read_calibrator_cache(SHARED)
    write_calibrator_cache(tmp_path / "copy", cache)
    assert (tmp_path / "copy").read_bytes() == SHARED.read_bytes()
    assert len(cache.entries) == 61
    assert cache.quantile == pytest.approx(0.999966, abs=1e-6)
    assert cache.scales["images"] * 127 == pytest.approx(2.64, abs=0.01)
    assert "topk_layer_output_index" in cache.scales


@settings(max_examples=60, deadline=None)
@given(caches)
def test_every_cache_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, cache: CalibratorCache
) -> None:
    path = tmp_path_factory.mktemp("cache") / "calibrator.cache"
    write_calibrator_cache(path, cache)
    assert read_calibrator_cache(path) == cache
    before = path.read_bytes()
    write_calibrator_cache(path, read_calibrator_cache(path))
    assert path.read_bytes() == before


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.floats(width=32, allow_nan=False, allow_subnormal=False)))
def test_scales_come_back_as_the_same_float32(scales: dict[str, float]) -> None:
    wanted = {name: np.float32(scale) for name, scale in scales.items()}
    assert CalibratorCache.make("TRT-8601-MinMaxCalibration", wanted).scales == wanted


def test_both_headers_are_read(tmp_path: Path) -> None:
    usual = read_calibrator_cache(
        _write(tmp_path / "usual", "TRT-8001-EntropyCalibration2\ninput.1: 3caa5293\n")
    )
    assert (usual.algorithm, usual.quantile) == ("EntropyCalibration2", None)
    assert usual.scales["input.1"] == np.float32(struct.unpack(">f", bytes.fromhex("3caa5293"))[0])
    legacy = read_calibrator_cache(
        _write(tmp_path / "legacy", "0 3ff0000000000000 3fefffb8b26394fb\n335: 3d418306")
    )
    assert legacy.algorithm == "LegacyCalibration"
    assert legacy.quantile == pytest.approx(0.999966, abs=1e-6)
    assert not legacy.final_newline


def test_a_name_may_hold_spaces_and_colons(tmp_path: Path) -> None:
    text = "TRT-8001-EntropyCalibration2\n(Unnamed Layer* 3) [Conv]: out: 3caa5293\n"
    cache = read_calibrator_cache(_write(tmp_path / "cache", text))
    assert [name for name, _ in cache.entries] == ["(Unnamed Layer* 3) [Conv]: out"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1 must be"),
        ("hello\nx: 3caa5293\n", ":1 must be"),
        ("0 3ff0 3fef\n", ":1 must be"),
        ("TRT-8001-Entropy\nx 3caa5293\n", ":2 must be"),
        ("TRT-8001-Entropy\nx: 3caa5293\ny: 3caa529\n", ":3 must be"),
        ("TRT-8001-Entropy\nx: 3caa529g\n", ":2 must be"),
        ("TRT-8001-Entropy\n\nx: 3caa5293\n", ":2 must be"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_calibrator_cache(_write(tmp_path / "cache", text))


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_calibrator_cache(tmp_path / "none")


def test_a_name_with_a_line_break_is_not_written(tmp_path: Path) -> None:
    cache = CalibratorCache.make("TRT-8601-MinMaxCalibration", {"a\nb": np.float32(1)})
    with pytest.raises(InputError, match="line breaks"):
        write_calibrator_cache(tmp_path / "cache", cache)
    assert list(tmp_path.iterdir()) == []
