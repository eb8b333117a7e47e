"""The text of one layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.int4.layer_text import (
    DTYPES,
    LayerText,
    TensorPlace,
    format_layer_text,
    parse_layer_text,
)

keys = st.text("abcxyz_019", min_size=1, max_size=8)
plain = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.sampled_from(["True", "False", "u4s4s32", "2:1 1"]),
)
places = st.builds(
    TensorPlace,
    st.sampled_from(DTYPES),
    st.lists(st.integers(1, 4096), min_size=1, max_size=4).map(tuple),
)
layers = st.builds(
    LayerText,
    st.just("layer1_0_conv1"),
    st.sampled_from(["Conv2d", "Quantize", "ReLU"]),
    st.dictionaries(keys, st.one_of(plain, places), max_size=6),
)


@given(layers, st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read_and_written_again_alike(layer: LayerText, line_end: str) -> None:
    content = format_layer_text(layer, line_end)
    read, ended = parse_layer_text(layer.name, content)
    assert read == layer
    assert list(read.values) == list(layer.values)
    assert format_layer_text(read, ended) == content


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes) -> None:
    try:
        layer, line_end = parse_layer_text("x", content)
    except InputError as error:
        assert "x" in str(error)
        assert "\n" not in str(error)
    else:
        assert format_layer_text(layer, line_end) == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "must end every line"),
        (b"ReLU", "must end every line"),
        (b"ReLU\r\ninplace=True\n", "must end every line"),
        (b"ReLU\ninplace\n", "must have lines key=value, got 'inplace'"),
        (b"ReLU\na=1\na=2\n", "has the key a twice"),
        (b"Linear\nbias=s32,1:4\n", "the line after bias must be !model/npdata/fc.bias, got ''"),
        (b"Linear\nbias=s32,1:4\n!model/npdata/../../etc/passwd\n", "the line after bias must be"),
        (b"Linear\nbias=s64,1:4\n!model/npdata/fc.bias\n", "dtype s4, s8, s16, s32, u16, f32, got"),
        (b"Linear\nbias=s32,2:4\n!model/npdata/fc.bias\n", "must have 2 dimensions"),
        (b"Linear\nbias=s32,1:0\n!model/npdata/fc.bias\n", "dimensions of at least 1"),
        (b"Linear\nbias=s32,1:04\n!model/npdata/fc.bias\n", "must be an integer, got '04'"),
        (b"Linear\nb=\xc3\xa4\n", "must be ASCII"),
    ],
)
def test_a_wrong_line_is_named(content: bytes, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_layer_text("fc", content)
    assert told in str(caught.value)
