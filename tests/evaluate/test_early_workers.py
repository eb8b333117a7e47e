"""A trial on an engine whose libraries are slow to import, with everything real and very small."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.errors import InputError, TrialFailure
from autosinian.evaluate.quiet import alone
from autosinian.search.space_file import read_space
from autosinian.search.workbench import Workbench, open_workbench
from autosinian.space.candidate import EngineConfig
from tests.search.conftest import SPACE, write_checkpoint

IMPORT_S = 2.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    yield from opened_bench(tmp_path, "SlowEngine")


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Workbench]:
    yield from opened_bench(tmp_path, "CrampedEngine")


def opened_bench(tmp_path: Path, engine: str) -> Iterator[Workbench]:
    write_checkpoint(tmp_path / "tiny.pt")
    text = SPACE.replace("engine: openvino", f"engine: tests.measure.worker_engines:{engine}")
    (tmp_path / "tiny.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(tmp_path)
        there.setattr("tempfile.tempdir", str(tmp_path))
        there.setenv("SLOW_LIBRARY_S", str(IMPORT_S))
        there.setenv("SLOW_LIBRARY_LOG", str(tmp_path / "imports"))
        there.setenv("CRAMPED", str(tmp_path / "cramped"))
        opened = open_workbench(read_space(tmp_path / "tiny.yaml"), "tiny", "sqlite:///tiny.db")
        yield opened
        opened.workers.close()
        opened.store.close()


def imports(bench: Workbench) -> int:
    log = bench.folder.parents[1] / "imports"
    return len(log.read_text().split()) if log.exists() else 0


def test_every_worker_of_a_trial_has_imported_before_its_job_came(bench: Workbench) -> None:
    candidate = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    found = bench.evaluator.evaluate(candidate, "one")
    assert found.complete
    # By the process that build, accuracy and performance were forked from.
    assert imports(bench) == 1
    assert found.measurements[0].worker_s < IMPORT_S + found.measurements[0].loadgen_s


def test_a_later_trial_imports_nothing_again(bench: Workbench) -> None:
    first = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    bench.evaluator.evaluate(first, "one")
    options = dict(first.engine.options) | {"cpu_pinning": False}
    engine = EngineConfig.make(first.engine.engine, first.engine.batch_size, **options)
    found = bench.evaluator.evaluate(replace(first, engine=engine), "two")
    assert found.complete
    assert imports(bench) == 1


def test_one_worker_builds_and_judges(bench: Workbench) -> None:
    candidate = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    found = bench.evaluator.evaluate(candidate, "together")
    runs = bench.folder / "runs"
    (build,) = runs.glob("build-*")
    accuracy = runs / "together-accuracy" / "Offline-AccuracyOnly"
    assert json.loads((accuracy / "run_job.json").read_text())["build_first"]
    assert (build / "build_result.json").exists()
    assert set(found.stage_s) == {
        "extract",
        "quantize",
        "build",
        "accuracy",
        "performance Offline",
    }
    # The same as by two workers from another engine file.
    model = bench.evaluator.networks.model(candidate)
    Path(bench.folder / found.files["engine"]).unlink()
    engine_file = bench.evaluator.build(candidate, model)
    job = bench.evaluator.job(candidate, engine_file, "search", "Offline", "AccuracyOnly", "apart")
    apart = bench.workers.run(job, time_limit_s=60, memory_limit_bytes=2 << 30)
    assert apart.accuracy == found.metrics["accuracy"]


def test_where_cores_are_many_the_performance_runs_worker_opens_the_engine_file_early(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autosinian.evaluate.early.usable_cores", lambda: 16)
    candidate = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    opened: list[bool] = []

    def refuse(metrics: Mapping[str, float]) -> bool:
        opened.append(bench.workers.opens_early)
        return False

    found = bench.evaluator.evaluate(candidate, "one", refuse=refuse)
    assert opened == [False, True]  # after the costs, after accuracy
    assert found.complete
    assert found.measurements[0].valid
    assert not bench.workers.opens_early
    other = replace(candidate, subnet=bench.network.largest(16))
    early = bench.evaluator.evaluate(other, "two", refuse=lambda metrics: "accuracy" in metrics)
    assert not early.complete
    assert not bench.workers.opens_early
    with alone():
        pass  # nobody of ours works on


def test_where_cores_are_many_the_performance_runs_worker_rehearses_during_the_build(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autosinian.evaluate.early.usable_cores", lambda: 16)
    candidate = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    found = bench.evaluator.evaluate(candidate, "rehearsed")
    assert found.measurements[0].valid
    job = bench.folder / "runs" / "rehearsed" / "Offline-PerformanceOnly" / "run_job.json"
    (build,) = (bench.folder / "runs").glob("build-*")
    rehearsed = json.loads(job.read_text())["rehearse"]
    assert rehearsed == json.loads((build / "build_job.json").read_text())["job"]
    assert not bench.workers.opens_early


@pytest.mark.parametrize("refusal", ["out of memory", "no such operator"])
def test_only_a_build_that_lacked_memory_beside_a_rehearsal_is_tried_again_alone(
    cramped: Workbench, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr("autosinian.evaluate.early.usable_cores", lambda: 16)
    monkeypatch.setenv("REFUSAL", refusal)
    candidate = replace(cramped.space.baseline(), subnet=cramped.network.smallest(16))
    told = cramped.folder.parents[1] / "cramped"
    if "memory" in refusal:
        assert cramped.evaluator.evaluate(candidate, "one").measurements[0].valid
        words = ["rehearsed", "refused", "built"]
    else:
        with pytest.raises(TrialFailure, match=refusal):
            cramped.evaluator.evaluate(candidate, "one")
        words = ["rehearsed", "refused"]
    assert [line.split()[0] for line in told.read_text().splitlines()] == words
    assert not cramped.workers.opens_early


def test_a_trial_that_fails_leaves_a_worker_for_the_next(bench: Workbench) -> None:
    candidate = replace(bench.space.baseline(), subnet=bench.network.smallest(16))
    broken = replace(candidate, engine=EngineConfig.make(candidate.engine.engine, 0))
    with pytest.raises(InputError, match="batch_size"):
        bench.evaluator.evaluate(broken, "one")
    assert bench.evaluator.evaluate(candidate, "two").complete
