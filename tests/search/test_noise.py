"""What the repetitions of the baseline say of the noise."""

import pytest

from autosinian.search.noise import (
    MOST_REPETITIONS,
    NOISE_ATTRIBUTE,
    read_noise,
    repetition_due,
    repetitions,
)
from tests.search.studies import evaluation

RATE = "Offline.samples_per_second"


def attributes(*rates: float) -> dict[str, object]:
    # Written by several processes, in whatever order.
    return {
        f"{NOISE_ATTRIBUTE}:{10 * (i + 1):05d}": {"metrics": {RATE: rate}, "finished": 10 * (i + 1)}
        for i, rate in reversed(list(enumerate(rates)))
    } | {"autosinian:seed": 0}


def test_noise_is_the_scatter_of_one_configuration() -> None:
    (noise,) = read_noise(attributes(102.0, 98.0), evaluation(0.9, 100.0))
    assert noise.metric == RATE
    assert noise.values == (100.0, 102.0, 98.0)
    assert noise.relative == pytest.approx(0.02)


def test_a_machine_that_slows_down_drifts() -> None:
    (noise,) = read_noise(attributes(100.0, 90.0, 90.0), evaluation(0.9, 100.0))
    assert noise.drift == pytest.approx(-0.1)


def test_two_values_are_no_noise_yet() -> None:
    assert read_noise(attributes(100.0), evaluation(0.9, 100.0)) == ()
    assert read_noise(attributes(100.0, 101.0), None) == ()


def test_repetitions_are_spread_over_the_search_and_end() -> None:
    done, at = 0, []
    for finished in range(1000):
        if repetition_due(done, finished):
            done += 1
            at.append(finished)
    assert at == [20 * (i + 1) for i in range(MOST_REPETITIONS)]
    assert [r[RATE] for r in repetitions(attributes(1.0, 2.0, 3.0))] == [1.0, 2.0, 3.0]
