"""Kept times spare measurements, of exactly what was measured."""

from pathlib import Path

import pytest

from autosinian.int4.configurations import configuration
from autosinian.int4.timing_cache import CachedTimer, KeptTimes, network_key
from autosinian.int4.tuning import rank_layers
from tests.int4.recorded_times import BATCH, SHAPES, SHARED_BYTES, RecordedTimer

ABOUT = {"device": "H100", "driver": "580", "triton": "3.6.0"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "times.jsonl"


def test_a_second_run_measures_only_what_did_not_run(path: Path) -> None:
    first = CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT)
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, first)
    second = CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT)
    assert rank_layers(SHAPES, BATCH, SHARED_BYTES, second) == ranking
    ranked = sum(map(len, ranking.values()))
    assert second.measured == first.measured - ranked < first.measured


@pytest.mark.parametrize("changed", [{"driver": "590"}, {"device": "A100"}, {"triton": "3.7.0"}])
def test_times_of_another_gpu_or_version_do_not_count(path: Path, changed: dict[str, str]) -> None:
    choice = configuration(3304)
    shape = SHAPES[2]
    CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT).seconds(shape, choice, 1.0)
    for batch, about, known in ((BATCH, ABOUT, 0), (BATCH, ABOUT | changed, 1), (8, ABOUT, 1)):
        timer = CachedTimer(RecordedTimer, KeptTimes(path), batch, about)
        timer.seconds(shape, choice, 1.0)
        assert timer.measured == known
        path.write_text(path.read_text().splitlines()[0] + "\n")


def test_a_torn_line_is_passed_over(path: Path) -> None:
    choice = configuration(3304)
    spent = CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT).seconds(
        SHAPES[2], choice, 1.0
    )
    path.write_text('[1]\n{"key": 3}\n' + path.read_text() + '{"key": "ab')
    timer = CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT)
    assert timer.seconds(SHAPES[2], choice, 1.0) == spent
    assert timer.measured == 0


def test_nothing_is_made_ready_to_measure_where_all_is_known(path: Path) -> None:
    choice = configuration(3304)
    spent = CachedTimer(RecordedTimer, KeptTimes(path), BATCH, ABOUT).seconds(SHAPES[2], choice, 1)

    def never() -> RecordedTimer:
        raise AssertionError("asked for a timer")

    timer = CachedTimer(never, KeptTimes(path), BATCH, ABOUT)
    timer.prepare([(SHAPES[2], choice)])
    assert timer.seconds(SHAPES[2], choice, 1.0) == spent
    timer.prepare(())


def test_a_networks_time_is_of_its_launches_in_order_and_their_kernels() -> None:
    layers = {"a": SHAPES[0], "b": SHAPES[1]}
    choices = {"a": configuration(1000), "b": configuration(1001)}
    key = network_key(layers, choices, 8, 1, ABOUT)
    assert key == network_key(dict(layers), dict(choices), 8, 1, dict(ABOUT))
    others = {
        network_key(layers, choices | {"b": configuration(1002)}, 8, 1, ABOUT),
        network_key(layers, choices, 16, 1, ABOUT),
        network_key(layers, choices, 8, 2, ABOUT),
        network_key(layers, choices, 8, 1, ABOUT | {"driver": "590"}),
        network_key(layers | {"c": SHAPES[2]}, choices, 8, 1, ABOUT),
    }
    assert len(others | {key}) == 6
