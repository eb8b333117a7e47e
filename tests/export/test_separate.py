"""Candidates are told apart by the pairs of their rounds, or are a tie."""

import random
from pathlib import Path

import pytest

from autosinian.export.choose import choose
from autosinian.export.contender import Contender
from autosinian.export.remeasure import Remeasured
from autosinian.export.separate import TIE, compare
from autosinian.space.candidate import Candidate, EngineConfig, Option, Quantization, Subnet
from autosinian.space.rules import Metric

RATE = Metric("samples_per_second", "Offline")
LATENCY = Metric("latency_ms", "SingleStream")


def entry(
    trial: int,
    values: list[float],
    *,
    metric: Metric = RATE,
    macs: float = 1e6,
    parameters: float = 1e5,
    batch: int = 8,
    streams: Option = 1,
) -> Remeasured:
    engine = EngineConfig.make("openvino", batch, streams=streams)
    candidate = Candidate(Subnet((2,), (3,), (3,), (), 16), Quantization(), engine)
    metrics = {"macs": macs, "parameters": parameters, "accuracy": 0.9}
    contender = Contender(trial, candidate, metrics, Path("a.onnx"), Path("a.engine"))
    return Remeasured(contender, {str(metric): values})


def drifting(mean: float, rounds: int, seed: int, spread: float = 0.003) -> list[float]:
    """Values of a machine that loses a third of its speed meanwhile, alike for all candidates."""
    rng = random.Random(seed)
    return [mean * (1 - i / rounds / 3) * rng.gauss(1, spread) for i in range(rounds)]


def test_pairs_see_through_a_drift_that_is_larger_than_the_difference() -> None:
    found = compare(entry(1, drifting(103, 8, 1)), entry(2, drifting(100, 8, 2)), RATE, 0.99)
    assert found.verdict == "separated"
    assert 0.96 < found.low < found.ratio < found.high < 1
    assert found.rounds == 8


def test_a_lower_latency_is_better() -> None:
    slow, fast = entry(1, [2.0, 2.01, 2.0], metric=LATENCY), entry(2, [1.0, 1.01, 1.0])
    fast.values = {str(LATENCY): fast.values.pop(str(RATE))}
    assert compare(slow, fast, LATENCY, 0.95).verdict == "better"
    assert compare(fast, slow, LATENCY, 0.95).verdict == "separated"


def test_equals_become_a_tie_with_rounds_and_are_open_before() -> None:
    few = compare(entry(1, drifting(100, 3, 1)), entry(2, drifting(100, 3, 2)), RATE, 0.99)
    many = compare(entry(1, drifting(100, 20, 1)), entry(2, drifting(100, 20, 2)), RATE, 0.99)
    assert few.verdict == "open"
    assert many.verdict == "tie"
    assert many.high - many.low < 2 * TIE


def test_who_left_early_is_compared_over_the_common_rounds() -> None:
    found = compare(entry(1, [100, 101, 99, 100]), entry(2, [50, 51]), RATE, 0.8)
    assert found.rounds == 2


@pytest.mark.parametrize(
    ("simpler", "other"),
    [
        ({"macs": 1e6}, {"macs": 2e6}),
        ({"parameters": 1e5}, {"parameters": 2e5}),
        ({"batch": 4}, {"batch": 8}),
        ({"streams": 1}, {"streams": 2}),
    ],
)
def test_a_tie_goes_to_the_simpler(simpler: dict[str, float], other: dict[str, float]) -> None:
    values = drifting(100, 20, 1)
    slightly_better = [1.002 * value for value in values]
    entries = [entry(1, slightly_better, **other), entry(2, values, **simpler)]  # type: ignore[arg-type]
    choice = choose(entries, RATE, (), {}, 0.95)
    assert choice.winner.contender.trial == 2
    assert choice.leader.contender.trial == 1
    assert choice.open == []
    assert str(choice) == "chosen: trial-00002, a tie with trial-00001; it is the simpler"
    assert choice.to_dict()["tied"] == ["trial-00002"]


def test_a_winner_that_is_separated_may_be_the_more_complex() -> None:
    entries = [
        entry(1, drifting(110, 8, 1), macs=9e6),
        entry(2, drifting(100, 8, 2)),
        entry(3, drifting(90, 8, 3)),
    ]
    choice = choose(entries, RATE, (), {}, 0.95)
    assert choice.winner.contender.trial == 1
    assert choice.open == choice.tied == []
    assert str(choice) == "chosen: trial-00001, apart from every other"


def test_a_better_bound_gives_way_to_who_is_better_in_every_pair() -> None:
    # The second has the better bound, as its own figures drift less; in pairs the first is better.
    falling = drifting(110, 8, 1)
    entries = [entry(1, falling), entry(2, [0.96 * value for value in falling])]
    entries[0].values[str(RATE)] += [60.0, 150.0]
    choice = choose(entries, RATE, (), {}, 0.95)
    assert choice.winner.contender.trial == 1


def test_chance_alone_is_seldom_taken_for_a_difference() -> None:
    wrong = 0
    for seed in range(60):
        entries = [entry(n, drifting(100, 5, 100 * seed + n, 0.02)) for n in range(4)]
        choice = choose(entries, RATE, (), {}, 0.95)
        wrong += any(c.verdict in ("separated", "better") for c in choice.compared)
    # Level 0.95 for all comparisons together: 3 of 60 expected, for the best of several a few more.
    assert wrong <= 12
