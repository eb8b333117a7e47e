from collections.abc import Callable

import pytest

from autosinian.errors import TrialFailure
from autosinian.measure.measurement import Measurement
from autosinian.measure.repeat import run_undisturbed


def one(disturbance: str, seconds: float) -> Measurement:
    return Measurement(
        "Offline",
        "PerformanceOnly",
        valid=True,
        samples_per_second=1000 / seconds,
        loadgen_s=seconds,
        worker_s=seconds + 1,
        peak_memory_bytes=int(seconds),
        machine={"load_average": [seconds]},
        disturbance=disturbance,
    )


def in_turn(*measurements: Measurement) -> Callable[[], Measurement]:
    return iter(measurements).__next__


def test_an_undisturbed_run_is_taken_as_it_is() -> None:
    measured = one("", 2)
    assert run_undisturbed(in_turn(measured)) is measured


def test_a_disturbed_run_is_repeated_and_the_result_says_so() -> None:
    kept = run_undisturbed(in_turn(one("GPU 0 was shared", 3), one("", 2)))
    assert kept.disturbance == ""
    assert kept.samples_per_second == 500
    assert kept.machine == {"load_average": [2], "repeated_because": "GPU 0 was shared"}
    assert (kept.loadgen_s, kept.worker_s, kept.peak_memory_bytes) == (5, 7, 3)


def test_a_run_disturbed_again_is_kept_with_its_mark_and_not_repeated_more() -> None:
    kept = run_undisturbed(in_turn(one("first", 3), one("second", 2)))
    assert kept.disturbance == "second"
    assert kept.machine["repeated_because"] == "first"


def test_a_failure_of_the_repetition_is_the_callers() -> None:
    def run() -> Measurement:
        if left:
            return left.pop()
        raise TrialFailure("performance", "the worker crashed")

    left = [one("GPU 0 was throttled", 3)]
    with pytest.raises(TrialFailure, match="crashed"):
        run_undisturbed(run)
