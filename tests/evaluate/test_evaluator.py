"""The stages of a trial, with a real supernet, engine and LoadGen, all very small."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.evaluate import evaluator
from autosinian.evaluate.subnets import SubnetNetworks
from autosinian.search.workbench import Workbench
from autosinian.space.candidate import Candidate, EngineConfig, Option, Quantization

SCENARIOS = "scenarios: [Offline, SingleStream]\nobjectives: [accuracy, Offline.samples_per_second]"


def runs(bench: Workbench) -> set[str]:
    return {path.name for path in (bench.folder / "runs").iterdir()}


def test_every_scenario_is_measured_from_one_engine_file(
    bench: Workbench, smallest: Candidate
) -> None:
    stages: list[str] = []
    found = bench.evaluator.evaluate(smallest, "one", on_stage=stages.append)
    assert found.complete
    assert found.valid, found.invalid_reason
    assert stages == [
        "extract",
        "quantize",
        "build",
        "accuracy",
        "performance Offline",
        "performance SingleStream",
    ]
    assert set(found.stage_s) == set(stages)
    assert {
        "macs",
        "parameters",
        "accuracy",
        "Offline.samples_per_second",
        "SingleStream.latency_ms",
    } <= set(found.metrics)
    assert 0 <= found.metrics["accuracy"] <= 1
    assert (found.metrics["accuracy"] * 100) % 1 == pytest.approx(0, abs=1e-6)
    assert [m.scenario for m in found.measurements] == ["Offline", "SingleStream"]
    assert all((bench.folder / path).is_file() for path in found.files.values())
    assert set(found.data_keys) == {"batch_norm", "calibration", "search"}
    assert 0 < found.overhead_s < sum(found.stage_s.values())
    assert bench.evaluator.networks.calibrator_cache(smallest).is_file()


def test_what_is_known_of_a_network_is_not_measured_again(
    bench: Workbench, smallest: Candidate
) -> None:
    first = bench.evaluator.evaluate(smallest, "two")
    models = set((bench.folder / "models").iterdir())
    before = runs(bench)
    other = replace(smallest, engine=replace(smallest.engine, batch_size=4))
    second = bench.evaluator.evaluate(other, "three")
    assert set((bench.folder / "models").iterdir()) == models
    assert second.metrics["accuracy"] == first.metrics["accuracy"]
    assert second.files["model"] == first.files["model"]
    assert second.files["engine"] != first.files["engine"]
    assert not [name for name in runs(bench) - before if "accuracy" in name]


def test_accuracy_is_measured_again_where_another_option_rounds_elsewhere(
    bench: Workbench, smallest: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunables = bench.engine.tunables()
    told = tuple(replace(item, rounds=item.name == "cpu_pinning") for item in tunables)
    monkeypatch.setattr(bench.engine, "tunables", lambda: told)
    file = bench.evaluator.build(smallest, bench.evaluator.networks.model(smallest))
    seconds = {}
    for pinned in (True, False):
        changed = dict(smallest.engine.options) | {"cpu_pinning": pinned}
        engine = EngineConfig.make("openvino", smallest.engine.batch_size, **changed)
        candidate = replace(smallest, engine=engine)
        for time in ("first", "again"):
            name = f"rounding-{pinned}-{time}"
            _, seconds[pinned, time] = bench.evaluator.accuracy(candidate, file, "search", name)
    assert [key for key, took in seconds.items() if took] == [(True, "first"), (False, "first")]


def test_settings_that_need_no_other_engine_file_share_one(
    bench: Workbench, smallest: Candidate
) -> None:
    model = bench.evaluator.networks.model(smallest)

    def with_options(**options: Option) -> Candidate:
        changed = dict(smallest.engine.options) | options
        engine = EngineConfig.make("openvino", smallest.engine.batch_size, **changed)
        return replace(smallest, engine=engine)

    one = bench.evaluator.build(with_options(streams=1, cpu_pinning=True), model)
    built = one.stat().st_mtime_ns
    other = with_options(streams=2, cpu_pinning=False)
    found = bench.evaluator.evaluate(other, "streams")
    assert found.complete
    assert found.valid, found.invalid_reason
    assert found.files["engine"] == str(one.relative_to(bench.folder))
    assert one.stat().st_mtime_ns == built
    assert bench.evaluator.build(with_options(partial_batch="dynamic"), model) != one


def test_the_server_settings_of_a_candidate_reach_its_server_runs_alone(
    bench: Workbench, smallest: Candidate
) -> None:
    serving = replace(smallest, serving=(("deque_timeout_us", 300), ("in_flight", 2)))

    def sut(scenario: str) -> dict[str, int | float | bool]:
        job = bench.evaluator.job(
            serving, Path("x"), "search", scenario, "PerformanceOnly", "serving"
        )
        return job.sut

    assert sut("Server") == {"deque_timeout_us": 300, "in_flight": 2}
    assert sut("Offline") == {}


def test_a_candidate_that_cannot_win_goes_no_further(bench: Workbench, smallest: Candidate) -> None:
    early = bench.evaluator.evaluate(smallest, "four", refuse=lambda metrics: True)
    assert not early.complete
    assert set(early.metrics) == {"macs", "parameters"}
    assert early.files == {}
    later = bench.evaluator.evaluate(smallest, "five", refuse=lambda metrics: "accuracy" in metrics)
    assert not later.complete
    assert later.measurements == ()
    assert set(later.files) == {"model", "engine"}
    assert "Offline.samples_per_second" not in later.metrics


def test_a_part_of_the_samples_is_asked_about_first(
    bench: Workbench, smallest: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "LEAST_FOR_A_PART", 8)
    candidate = replace(smallest, quantization=Quantization("fp32"))
    asked: list[dict[str, tuple[float, float]]] = []

    def decide(known: Mapping[str, tuple[float, float]]) -> str:
        asked.append(dict(known))
        return "enough is known" if len(asked) == 2 else ""

    found = bench.evaluator.evaluate(candidate, "part", decide=decide)
    assert found.stopped == "enough is known"
    assert not found.complete and not found.measurements
    (_, about), (whole, exact) = (known["accuracy"] for known in asked)
    assert about > 0 == exact
    assert found.metrics["accuracy"] == whole
    again = bench.evaluator.evaluate(candidate, "known", decide=lambda known: "no more")
    assert again.stopped == "no more"
    assert "accuracy of a part" in found.stage_s
    assert "accuracy of a part" not in again.stage_s


def test_another_calibration_is_another_network(bench: Workbench, smallest: Candidate) -> None:
    networks = bench.evaluator.networks
    other = replace(smallest, quantization=Quantization("int8", "entropy"))
    full = replace(smallest, quantization=Quantization())
    batch = replace(smallest, engine=replace(smallest.engine, batch_size=4))
    keys = {networks.key(c) for c in (smallest, other, full)}
    assert len(keys) == 3
    assert networks.key(batch) == networks.key(smallest)


def subnets(bench: Workbench) -> SubnetNetworks:
    networks = bench.evaluator.networks
    assert isinstance(networks, SubnetNetworks)
    return networks


def test_the_same_candidate_makes_the_same_file(
    bench: Workbench, smallest: Candidate, tmp_path: Path
) -> None:
    model = bench.evaluator.networks.model(smallest)
    before = model.read_bytes()
    model.unlink()
    subnets(bench).module(bench.network.largest(16))
    assert bench.evaluator.networks.model(smallest).read_bytes() == before


def test_a_folder_that_cannot_be_written_ends_the_search(
    bench: Workbench, smallest: Candidate
) -> None:
    fresh = replace(smallest, subnet=bench.network.largest(16))
    subnets(bench).module(fresh.subnet)
    models = bench.folder / "models"
    models.rename(bench.folder / "elsewhere")
    models.write_text("a file in place of the folder")
    try:
        with pytest.raises(InputError, match="must be able to write its files"):
            bench.evaluator.evaluate(fresh, "six")
    finally:
        models.unlink()
        (bench.folder / "elsewhere").rename(models)
