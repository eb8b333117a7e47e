import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.encodings.encoding import Encoding, encode_channels, encode_range, encode_wide


def _assert_is(
    encoding: Encoding,
    bitwidth: int,
    symmetric: bool,
    minimum: float,
    maximum: float,
    offset: int,
    scale: float,
) -> None:
    assert (encoding.bitwidth, encoding.is_symmetric) == (bitwidth, symmetric)
    assert encoding.offset == offset
    found = (encoding.minimum, encoding.maximum, encoding.scale)
    assert found == pytest.approx((minimum, maximum, scale))


def test_a_symmetric_range_by_hand() -> None:
    _assert_is(encode_range(-1.0, 2.54, symmetric=True), 8, True, -2.56, 2.54, -128, 0.02)


def test_a_symmetric_range_without_negative_values_is_unsigned() -> None:
    _assert_is(encode_range(0.5, 5.1, symmetric=True), 8, True, 0.0, 5.1, 0, 0.02)
    signed = encode_range(0.5, 2.54, symmetric=True, unsigned=False)
    assert signed.offset == -128
    assert signed.scale == pytest.approx(0.02)


def test_a_strict_range_has_equal_ends() -> None:
    encoding = encode_range(-1.0, 2.54, symmetric=True, strict=True)
    _assert_is(encoding, 8, True, -2.54, 2.54, -127, 0.02)
    assert (encoding.steps, encoding.lowest, encoding.highest) == (254, -127, 127)


def test_an_asymmetric_range_moves_so_that_zero_is_on_the_grid() -> None:
    # Scale 2.55 / 255; 0.553 / 0.01 = 55.3 steps below zero become 55.
    _assert_is(encode_range(-0.553, 1.997, symmetric=False), 8, False, -0.55, 2.0, -55, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "offset"), [(1.0, 2.55, 0), (-2.55, -1.0, -255), (-2.55, 0.0, -255)]
)
def test_an_asymmetric_range_on_one_side_of_zero_reaches_it(
    low: float, high: float, offset: int
) -> None:
    encoding = encode_range(low, high, symmetric=False)
    assert encoding.offset == offset
    # 0.01 above a range that ends at or below zero is nothing: the range is long enough.
    assert encoding.scale == pytest.approx(0.01, rel=1e-9)
    assert encoding.minimum <= 0.0 <= encoding.maximum


def test_an_empty_range_is_a_hundredth_wide() -> None:
    assert encode_range(0.0, 0.0, symmetric=False).maximum == pytest.approx(0.01)
    assert encode_range(0.0, 0.0, symmetric=True).scale == pytest.approx(0.01 / 255)


def test_biases_have_31_bits_and_are_labelled_32() -> None:
    encoding = encode_wide(-0.5, 2.0, symmetric=True)
    assert encoding.bitwidth == 32
    assert encoding.offset == -(2**30)
    assert encoding.scale == pytest.approx(2.0 / (2**30 - 1))
    assert not encoding.is_int8
    asymmetric = encode_wide(-0.5, 1.5, symmetric=False)
    assert asymmetric.scale == pytest.approx(2.0 / (2**31 - 1))
    assert asymmetric.offset == pytest.approx(-(2**31 - 1) / 4, abs=1)


def test_channels_have_their_own_ranges() -> None:
    values = np.array([[1.27, -0.5], [-2.54, 0.1]])
    scales = [item.scale for item in encode_channels(values, symmetric=True)]
    assert scales == pytest.approx([0.01, 0.02])


@given(
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_every_range_holds_zero_and_its_values(
    low: float, width: float, symmetric: bool, strict: bool, unsigned: bool
) -> None:
    encoding = encode_range(
        low, low + width, symmetric=symmetric, strict=strict, unsigned=unsigned and not strict
    )
    assert encoding.lowest <= 0 <= encoding.highest
    assert encoding.steps == (254 if symmetric and strict else 255)
    half = encoding.scale * 0.5000001
    assert encoding.minimum - half <= low and low + width <= encoding.maximum + half
