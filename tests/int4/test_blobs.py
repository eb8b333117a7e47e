"""Values of tensors as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.int4.blobs import blob_bytes, decode, encode, pack_s4, unpack_s4
from autosinian.int4.layer_text import TensorPlace

nibbles = st.lists(st.integers(-8, 7), max_size=40).filter(lambda values: len(values) % 2 == 0)


@given(nibbles)
def test_4_bit_values_survive_packing(values: list[int]) -> None:
    packed = pack_s4(np.array(values, np.int8))
    assert packed.nbytes * 2 == len(values)
    assert unpack_s4(packed).tolist() == values


@given(st.binary(max_size=40))
def test_every_byte_is_two_values_and_comes_back(content: bytes) -> None:
    assert pack_s4(unpack_s4(np.frombuffer(content, np.uint8))).tobytes() == content


def test_the_low_nibble_is_the_even_element_in_twos_complement() -> None:
    assert unpack_s4(np.array([0x7F, 0x80], np.uint8)).tolist() == [-1, 7, 0, -8]


@pytest.mark.parametrize(
    ("dtype", "values", "content"),
    [
        ("s8", [-1, 2], b"\xff\x02"),
        ("s16", [-2, 1], b"\xfe\xff\x01\x00"),
        ("s32", [-2], b"\xfe\xff\xff\xff"),
        ("u16", [65535, 1], b"\xff\xff\x01\x00"),
        ("f32", [1.0], b"\x00\x00\x80\x3f"),
        ("s4", [1, -2, 3, 0], b"\xe1\x03"),
    ],
)
def test_types_are_little_endian_both_ways(dtype: str, values: list[int], content: bytes) -> None:
    place = TensorPlace(dtype, (len(values),))
    assert blob_bytes(place) == len(content)
    decoded = decode(place, content)
    assert decoded.tolist() == values
    assert encode(dtype, decoded) == content


def test_an_odd_number_of_4_bit_values_is_refused() -> None:
    with pytest.raises(InputError, match="must fill whole bytes"):
        blob_bytes(TensorPlace("s4", (3, 1)))
