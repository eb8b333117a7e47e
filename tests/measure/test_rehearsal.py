"""A worker that runs the model while its engine file is built, then opens the file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.measure.job_files import JobFiles
from autosinian.measure.measurement import BuildJob, Job
from autosinian.measure.workers import Workers
from tests.measure.conftest import LIMITS, Bench
from tests.measure.test_process import in_the_repository, misbehaving, wait_until  # noqa: F401


@pytest.fixture
def workers() -> Iterator[Workers]:
    opened = Workers(forks=False)
    yield opened
    opened.close()


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine writes what it does and in which process."""
    monkeypatch.setenv("REHEARSALS", str(tmp_path / "told"))
    return tmp_path / "told"


def words(told: Path) -> list[list[str]]:
    return [line.split() for line in told.read_text().splitlines()] if told.exists() else []


def jobs(bench: Bench, folder: Path) -> tuple[BuildJob, Job]:
    engine, file = misbehaving(bench, "RehearsingEngine"), folder / "model.engine"
    model = bench.folder / "model.onnx"
    build = BuildJob(engine, str(model), "fp32", str(file), str(folder / "build"))
    run = bench.job("Offline", "RawLoop", folder / "run", engine=engine, engine_file=str(file))
    return build, run


@pytest.mark.parametrize("fails", [False, True])
def test_the_process_that_rehearsed_opens_what_was_built_and_measures(
    bench: Bench,
    workers: Workers,
    told: Path,
    tmp_path: Path,
    fails: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fails:
        monkeypatch.setenv("FAILING_REHEARSAL", "1")
    build, run = jobs(bench, tmp_path)

    def begin() -> None:
        workers.open_early(run, build=build)
        assert wait_until(lambda: len(words(told)) == 1)
        # The file is opened when it is whole, not before.
        assert words(told)[0][0] == "rehearse"

    workers.build(build, **LIMITS, started=begin)
    assert [word for word, _ in words(told)] == ["rehearse"]
    assert workers.built(run)
    workers.settle()
    assert [word for word, _ in words(told)] == ["rehearse", "open"]
    assert workers.run(run, **LIMITS).samples_per_second
    assert len({process for _, process in words(told)}) == 1
    assert not workers.opens_early


def test_a_rehearsal_whose_file_is_never_built_ends(
    bench: Bench, workers: Workers, told: Path, tmp_path: Path
) -> None:
    build, run = jobs(bench, tmp_path)
    workers.open_early(run, build=build)
    assert wait_until(lambda: len(words(told)) == 1)
    process = Path("/proc") / words(told)[0][1]
    workers.settle()  # does not wait for it
    assert wait_until(lambda: not process.exists())
    workers.build(build, **LIMITS)
    assert workers.run(run, **LIMITS).samples_per_second
    assert [word for word, _ in words(told)] == ["rehearse", "open"]
    assert len({one for _, one in words(told)}) == 2


def test_only_the_job_that_is_rehearsed_is_told_that_its_file_is_there(
    bench: Bench, workers: Workers, told: Path, tmp_path: Path
) -> None:
    build, run = jobs(bench, tmp_path)
    workers.open_early(run, build=build)
    assert not workers.built(replace(run, output_folder=str(tmp_path / "other")))
    assert wait_until(lambda: len(words(told)) == 1)
    assert [word for word, _ in words(told)] == ["rehearse"]
    assert workers.end_early()
    assert not workers.built(run)
    assert not JobFiles(Path(run.output_folder), "run").result.exists()
