import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.space.dimension import Dimension, read_dimension
from autosinian.space.document import Range

integers = st.integers(-1000, 1000)


def ranges(low: int = 1) -> st.SearchStrategy[Dimension]:
    return st.tuples(st.integers(low, 500), st.integers(0, 500), st.booleans()).map(
        lambda t: Dimension("x", (), t[0], t[0] + t[1], t[2])
    )


@given(dimension=ranges(), seed=st.integers(0, 2**31))
def test_a_draw_is_in_the_range(dimension: Dimension, seed: int) -> None:
    assert dimension.holds(dimension.sample(random.Random(seed)))


@given(dimension=ranges(), value=integers)
def test_the_nearest_value_is_in_the_range_and_none_is_nearer(
    dimension: Dimension, value: int
) -> None:
    nearest = dimension.nearest(value)
    assert dimension.holds(nearest)
    assert isinstance(nearest, int)
    best = min(abs(value - v) for v in range(dimension.low, dimension.high + 1))
    assert abs(nearest - value) == best


@given(choices=st.lists(integers, min_size=1, unique=True), value=integers)
def test_the_nearest_choice_is_a_choice(choices: list[int], value: int) -> None:
    nearest = Dimension("x", tuple(choices)).nearest(value)
    assert abs(int(nearest) - value) == min(abs(c - value) for c in choices)


def test_an_unknown_word_becomes_the_first_choice() -> None:
    dimension = Dimension("calibration", ("minmax", "entropy"))
    assert dimension.nearest("none") == "minmax"
    assert dimension.nearest("entropy") == "entropy"


def test_every_value_of_a_logarithmic_range_is_drawn() -> None:
    dimension = Dimension("batch_size", (), 1, 16, True)
    rng = random.Random(0)
    draws = [dimension.sample(rng) for _ in range(2000)]
    assert set(draws) == set(range(1, 17))
    assert draws.count(1) > draws.count(16)


@pytest.mark.parametrize(
    ("values", "size"),
    [(Range(low=3, high=7), 5), ([1, 2, 2, 4], 3), (7, 1), ("pad", 1)],
)
def test_the_size_counts_distinct_values(values: Range | list[int] | int | str, size: int) -> None:
    assert read_dimension("x", values).size == size  # type: ignore[arg-type]
