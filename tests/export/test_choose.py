"""The choice among re-measured candidates."""

from pathlib import Path

import pytest

from autosinian.errors import AutosinianError
from autosinian.export.choose import choose
from autosinian.export.contender import Contender
from autosinian.export.remeasure import Remeasured
from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet
from autosinian.space.rules import Constraint, Metric

RATE = Metric("samples_per_second", "Offline")
LATENCY = Metric("latency_ms", "SingleStream")
SCENARIOS = ("Offline", "SingleStream")


def entry(
    trial: int,
    values: list[float],
    *,
    metric: Metric = RATE,
    macs: float = 1e6,
    accuracy: float = 0.9,
    failure: str = "",
) -> Remeasured:
    candidate = Candidate(
        Subnet((2,), (3, 3), (3, 3), (), 16), Quantization(), EngineConfig.make("openvino", trial)
    )
    metrics = {"macs": macs, "accuracy": accuracy}
    contender = Contender(trial, candidate, metrics, Path("model.onnx"), Path("model.engine"))
    return Remeasured(contender, {str(metric): values}, failure)


def chosen(*entries: Remeasured, metric: Metric = RATE, rules: tuple[str, ...] = ()) -> int | None:
    parsed = [Constraint.parse(text, SCENARIOS) for text in rules]
    reference = {"accuracy": 0.91, "Offline.samples_per_second": 50.0}
    return choose(entries, metric, parsed, reference, 0.95).winner.contender.trial


def test_a_steady_candidate_beats_a_wild_one_of_a_higher_mean() -> None:
    assert chosen(entry(1, [100, 130, 160]), entry(2, [110, 111, 112])) == 2


def test_of_equally_steady_candidates_the_faster_wins() -> None:
    assert chosen(entry(1, [100, 101, 102]), entry(2, [110, 111, 112])) == 2


def test_a_latency_is_judged_by_its_upper_bound() -> None:
    wild, steady = [1.0, 1.5, 2.0], [1.9, 1.91, 1.92]
    assert (
        chosen(entry(1, wild, metric=LATENCY), entry(2, steady, metric=LATENCY), metric=LATENCY)
        == 2
    )


def test_a_tie_goes_to_fewer_multiply_adds() -> None:
    heavy, light = entry(1, [100.2, 100.3], macs=2e6), entry(2, [100.0, 100.1], macs=1e6)
    assert chosen(heavy, light) == 2
    assert chosen(entry(3, [110.2, 110.3], macs=2e6), light) == 3


def test_full_ties_go_to_the_earlier_trial() -> None:
    assert chosen(entry(7, [100, 101]), entry(3, [100, 101])) == 3


def test_a_candidate_that_failed_is_out() -> None:
    assert chosen(entry(1, [100, 101], failure="performance: hung"), entry(2, [50, 51])) == 2


def test_a_constraint_holds_for_the_new_means_and_the_search_accuracy() -> None:
    slow, fast = entry(1, [60, 61], accuracy=0.95), entry(2, [120, 121], accuracy=0.90)
    assert chosen(slow, fast, rules=("accuracy >= reference - 0.005",)) == 1
    assert chosen(slow, fast, rules=("Offline.samples_per_second >= 2 * reference",)) == 2


def test_where_all_are_out_each_reason_is_told() -> None:
    with pytest.raises(AutosinianError, match="none did") as refused:
        chosen(
            entry(1, [60, 61], failure="performance: hung"),
            entry(2, [60, 61]),
            rules=("Offline.samples_per_second >= 2 * reference",),
        )
    message = str(refused.value)
    assert "trial-00001: performance: hung" in message
    assert (
        "trial-00002: misses `Offline.samples_per_second >= 2 * reference` (60.5 against 100)"
        in message
    )
    assert "\n" not in message


def test_what_is_not_timed_decides_by_the_search_figure() -> None:
    first, second = entry(1, [100, 101], accuracy=0.8), entry(2, [90, 91], accuracy=0.9)
    assert chosen(first, second, metric=Metric("accuracy")) == 2
