"""The tuner finds the best of recorded times with few measurements."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from autosinian.int4.configurations import Configuration, configurations, refusal
from autosinian.int4.layer_shape import LayerShape, ResidualShape
from autosinian.int4.promising import candidates
from autosinian.int4.tuning import (
    Timed,
    best_choices,
    exchange_jointly,
    rank_layers,
    single_configurations,
)
from tests.int4.recorded_times import BATCH, SHAPES, SHARED_BYTES, RecordedTimer


@pytest.fixture
def timer() -> RecordedTimer:
    return RecordedTimer()


def test_ranking_finds_each_shapes_recorded_best(timer: RecordedTimer) -> None:
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, timer)
    for shape in SHAPES:
        assert ranking[shape][0].seconds == pytest.approx(timer.best(shape), rel=0.02)
        times = [entry.seconds for entry in ranking[shape]]
        assert times == sorted(times)


def test_equal_shapes_are_measured_once_and_nothing_twice(timer: RecordedTimer) -> None:
    rank_layers([*SHAPES, *SHAPES], BATCH, SHARED_BYTES, timer)
    assert len(timer.asked) == len(set(timer.asked))
    assert set(timer.asked) <= set(timer.prepared)


def test_few_of_the_candidates_are_measured(timer: RecordedTimer) -> None:
    rank_layers(SHAPES, BATCH, SHARED_BYTES, timer)
    legal = sum(len(candidates(shape, BATCH, SHARED_BYTES)) for shape in SHAPES)
    assert len(timer.asked) < 0.5 * legal


def test_slow_candidates_are_stopped_at_three_times_the_best(timer: RecordedTimer) -> None:
    shape = SHAPES[0]
    slow = {key: spent for key, spent in timer.times.items() if key[0] == shape.text}
    slowest = max(slow, key=lambda key: slow[key])
    timer.times[slowest] = 100 * timer.best(shape)
    ranking = rank_layers([shape], BATCH, SHARED_BYTES, timer)
    assert slowest[1] not in [entry.configuration.id for entry in ranking[shape]]
    assert timer.stopped >= 1


def test_without_time_one_of_each_shape_is_measured_the_most_promising(
    timer: RecordedTimer,
) -> None:
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, timer, time_limit_s=0.0)
    for shape in SHAPES:
        (only,) = ranking[shape]
        assert only.seconds < 2 * timer.best(shape)
    ran = [pair for pair in timer.asked if (pair[0].text, pair[1].id) in timer.times]
    assert len(ran) == len(SHAPES)
    assert timer.prepared[-1:] != [] and timer.given_up


def test_chained_times_are_compared_less_the_followers_own() -> None:
    follower = SHAPES[1]
    shape = replace(
        LayerShape(56, 56, 64, 4, 56, 56, 256, 4),
        residual=ResidualShape("downsample", 56, 56, 64, 4),
        follower=replace(follower, out_channels=64),
    )
    timer = RecordedTimer()
    own = timer.best(follower)
    for choice in candidates(shape, BATCH, SHARED_BYTES):
        timer.times[shape.text, choice.id] = 100e-6 + (0.5 * own if choice.chained else 0.0)
    ranking = rank_layers([shape, follower], BATCH, SHARED_BYTES, timer)
    best = ranking[shape][0]
    assert best.configuration.chained
    assert best.seconds == pytest.approx(100e-6 - 0.5 * own)


def test_exchange_keeps_what_helps_the_whole_network() -> None:
    first, second = SHAPES[:2]
    fast, other = list(configurations().values())[:2]
    ranking = {
        first: (Timed(fast, 1.0), Timed(other, 1.1)),
        second: (Timed(fast, 1.0), Timed(other, 1.1)),
    }
    layers = {"a": first, "b": second, "c": first}
    tried: list[Mapping[str, Configuration]] = []

    def network_seconds(choices: Mapping[str, Configuration]) -> float:
        # Neighbours with the same kernel disturb each other.
        tried.append(choices)
        return 3.0 + (0.5 if choices["a"] == choices["b"] else 0.0)

    choices, seconds = exchange_jointly(layers, ranking, network_seconds)
    assert seconds == 3.0
    assert choices["a"] == choices["c"] != choices["b"]
    assert best_choices(layers, ranking)["a"] == fast
    assert len(tried) <= 5


def test_a_gain_within_the_noise_is_not_kept() -> None:
    shape = SHAPES[0]
    fast, other = list(configurations().values())[:2]
    ranking = {shape: (Timed(fast, 1.0), Timed(other, 1.1))}
    choices, seconds = exchange_jointly(
        {"a": shape}, ranking, lambda trial: 1.0 if trial["a"] == fast else 0.999
    )
    assert choices == {"a": fast}
    assert seconds == 1.0


def test_a_single_configuration_is_replaced_only_where_it_does_not_fit(
    timer: RecordedTimer,
) -> None:
    layers = {f"layer{number}": shape for number, shape in enumerate(SHAPES)}
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, timer)
    singles = single_configurations(layers, ranking, SHARED_BYTES)
    tuned = sum(entries[0].seconds for entries in ranking.values())
    assert [single.estimate for single in singles] == sorted(s.estimate for s in singles)
    for single in singles:
        assert set(single.choices) == set(layers)
        assert single.estimate >= tuned
        for name, shape in layers.items():
            used = single.choices[name]
            assert refusal(used, shape, SHARED_BYTES) is None
            fits = refusal(single.configuration, shape, SHARED_BYTES) is None
            assert (used == single.configuration) == fits == (name not in single.replaced)
    wide = next(single for single in singles if single.configuration.channels == 128)
    narrow = wide.choices["layer0"]  # 64 output channels
    assert narrow.channels == 64
    assert (narrow.pixels, narrow.stationary) == (
        wide.configuration.pixels,
        wide.configuration.stationary,
    )


def test_what_was_not_measured_is_as_far_from_the_best_as_elsewhere() -> None:
    first, second = SHAPES[0], SHAPES[1]
    fast, slow = (c for c in candidates(first, 8, SHARED_BYTES)[:2])
    ranking = {first: (Timed(fast, 1.0), Timed(slow, 3.0)), second: (Timed(fast, 2.0),)}
    singles = single_configurations({"a": first, "b": second}, ranking, SHARED_BYTES)
    assert [single.estimate for single in singles] == [3.0, 9.0]
