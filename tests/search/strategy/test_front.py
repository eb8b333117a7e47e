import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.search.strategy.front import (
    chance_to_join,
    expected_improvement,
    hypervolume,
    is_on_front,
    ranks,
)
from tests.search.strategy import plain

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12).map(
    lambda rows: np.asarray(rows, dtype=float)
)
REFERENCE = np.asarray([10.0, 10.0])


@given(POINTS)
def test_the_front_is_what_no_other_point_dominates(points: np.ndarray) -> None:
    on = is_on_front(points)
    for point in points:
        better = (points <= point).all(1) & (points < point).any(1)
        covered = (points[on] <= point).all(1).any()
        assert covered
        if better.any():
            assert not any((points[on] == point).all(1))


@given(POINTS)
def test_hypervolume_counts_the_cells_that_are_dominated(points: np.ndarray) -> None:
    cells = sum(
        bool(((points[:, 0] <= x) & (points[:, 1] <= y)).any())
        for x in range(10)
        for y in range(10)
    )
    assert hypervolume(points, REFERENCE) == pytest.approx(cells)


def test_ranks_count_the_fronts_in_front() -> None:
    points = np.asarray([[0, 2], [2, 0], [1, 2], [3, 3]], dtype=float)
    assert ranks(points).tolist() == [0, 0, 1, 2]


@given(POINTS, st.integers(1, 2))
def test_ranks_are_those_of_fronts_that_are_taken_away(points: np.ndarray, objectives: int) -> None:
    assert ranks(points[:, :objectives]).tolist() == plain.ranks(points[:, :objectives]).tolist()


@pytest.mark.parametrize("objectives", [1, 2])
def test_expected_improvement_is_the_mean_of_drawn_improvements(objectives: int) -> None:
    rng = np.random.default_rng(0)
    front = np.asarray([[1.0, 6.0], [3.0, 3.0], [7.0, 1.0]])[:, :objectives]
    reference = REFERENCE[:objectives]
    mean, deviation = np.full((1, objectives), 3.5), np.full((1, objectives), 1.5)
    before = hypervolume(front, reference)
    draws = mean + deviation * rng.normal(size=(20_000, objectives))
    gains = [hypervolume(np.vstack([front, d]), reference) - before for d in draws]
    found = expected_improvement(mean, deviation, front, reference)[0]
    assert found == pytest.approx(np.mean(gains), rel=0.05)


def test_the_chance_to_join_is_the_share_of_draws_that_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    front = np.asarray([[1.0, 6.0], [3.0, 3.0], [7.0, 1.0]])
    mean, deviation = np.asarray([4.0, 3.0]), np.asarray([1.5, 2.0])
    draws = mean + deviation * rng.normal(size=(20_000, 2))
    free = [not (front <= d).all(1).any() for d in draws]
    assert chance_to_join(mean, deviation, front) == pytest.approx(np.mean(free), abs=0.01)
