"""Tuning put together, with a clock in the place of the GPU's: what is kept is not measured."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from autosinian.int4.autoconfig import check_autoconfig
from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu import tuner
from autosinian.int4.gpu.executor import Executor
from autosinian.int4.gpu.tuner import Tuner
from autosinian.int4.layer_shape import LayerShape
from tests.int4.small_networks import small_network

BATCH = 4
NETWORK = small_network(widths=(64, 64), depth=1, seed=3)


class Clock:
    """Seconds by configuration; counts what it was asked for."""

    def __init__(self) -> None:
        self.layers = self.networks = 0

    def timer(self, executor: Executor, compiler: object) -> "Clock":
        return self

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None: ...

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        self.layers += 1
        return 1e-6 * (1 + configuration.id % 17)

    def streams_seconds(self, executors: Sequence[Executor]) -> float:
        self.networks += 1
        return sum(1e-6 * (1 + choice.id % 19) for choice in executors[0].choices.values())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tuner, "GpuLayerTimer", clock.timer)
    monkeypatch.setattr(tuner, "streams_seconds", clock.streams_seconds)
    monkeypatch.setattr("autosinian.int4.gpu.compiling.Compiler.compile", lambda *_: None)
    return clock


def test_a_second_run_measures_nothing_and_finds_the_same(clock: Clock, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        told: list[str] = []
        with Tuner(NETWORK, told.append) as tuning:
            tuned, ranking = tuning.tune(BATCH, tmp_path / "times.jsonl", time.monotonic() + 100)
            check_autoconfig(tuning.autoconfig(tuned.choices), NETWORK, "made")
        assert any("each layer's best" in text for text in told)
        found.append((tuned, ranking, clock.layers, clock.networks))
    assert found[0] == found[1]
    assert clock.layers > len(ranking) and clock.networks > 1
    assert tuned.images_per_second >= tuned.images_per_second_before


def test_without_time_every_layer_still_gets_a_kernel(clock: Clock, tmp_path: Path) -> None:
    with Tuner(NETWORK, lambda text: None) as tuning:
        tuned, ranking = tuning.tune(BATCH, tmp_path / "times.jsonl", time.monotonic())
        assert set(tuned.choices) == set(tuning.layers)
    assert all(len(entries) == 1 for entries in ranking.values())
    assert clock.networks == 1
