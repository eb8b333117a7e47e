import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autosinian.errors import TrialFailure
from autosinian.evaluate.quiet import alone, keep_working
from autosinian.measure.workers import Workers
from tests.measure.conftest import LIMITS, Bench
from tests.measure.slow_imports import IMPORT_S, SLOW, importers
from tests.measure.test_process import is_running, misbehaving, wait_until


@pytest.fixture
def workers() -> Iterator[Workers]:
    opened = Workers(forks=False)
    yield opened
    opened.close()


def slow_job(bench: Bench, folder: Path) -> Any:
    return bench.job("Offline", "AccuracyOnly", folder, engine=misbehaving(bench, "SlowEngine"))


def test_a_job_goes_to_the_process_that_waits_for_it(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, ())
    assert wait_until(lambda: len(importers(log)) == 1)
    time.sleep(IMPORT_S)
    measured = workers.run(slow_job(bench, tmp_path / "run"), **LIMITS)
    assert measured.accuracy == 1.0
    assert len(importers(log)) == 1
    again = workers.run(slow_job(bench, tmp_path / "again"), **LIMITS)
    assert again.accuracy == 1.0
    assert again.worker_s > IMPORT_S
    assert len(importers(log)) == 2


def test_a_job_may_come_before_the_imports_are_done(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, (), count=2)
    for name in ("one", "two"):
        assert workers.run(slow_job(bench, tmp_path / name), **LIMITS).accuracy == 1.0
    assert len(importers(log)) == 2


def test_a_process_is_prepared_once_however_often_it_is_asked_for(
    workers: Workers, log: Path
) -> None:
    for _ in range(3):
        workers.prepare(SLOW, ())
    assert wait_until(lambda: len(importers(log)) == 1)
    time.sleep(0.2)
    assert len(importers(log)) == 1


def test_what_waits_may_be_enough(workers: Workers, log: Path) -> None:
    workers.prepare([], (), count=1)
    workers.prepare(SLOW, (), count=3, least=1)
    workers.settle()
    assert importers(log) == []
    workers.prepare(SLOW, (), count=3, least=2)
    assert wait_until(lambda: len(importers(log)) == 2)


@pytest.mark.parametrize("fails", [False, True])
def test_a_process_warms_its_engine_before_the_job_is_there(
    bench: Bench,
    workers: Workers,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,
) -> None:
    warmed = tmp_path / "warmed"
    monkeypatch.setenv("WARM_LOG", str(warmed))
    if fails:
        monkeypatch.setenv("WARM_FAILS", "1")
    job = bench.job("Offline", "AccuracyOnly", tmp_path, engine=misbehaving(bench, "WarmEngine"))
    own = tmp_path / "own.engine"
    own.write_bytes(bench.engine_file.read_bytes())
    workers.prepare([], (), engine="tests.measure.worker_engines:WarmEngine")
    workers.settle()
    (process,) = map(int, warmed.read_text().split())
    assert workers.run(replace(job, engine_file=str(own)), **LIMITS).accuracy == 1.0
    assert int(own.with_suffix(".opened").read_text()) == process
    assert warmed.read_text().split() == [str(process)]


def test_a_job_of_other_devices_starts_afresh(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, (0,))
    assert wait_until(lambda: len(importers(log)) == 1)
    workers.run(slow_job(bench, tmp_path / "run"), **LIMITS)
    first, second = importers(log)
    assert is_running(first)
    assert not is_running(second)
    workers.prepare(SLOW, ())
    assert not is_running(first)


def test_what_a_process_that_waited_does_wrong_is_told_as_ever(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    def run(engine: str, **limits: Any) -> None:
        workers.prepare([], ())
        job = bench.job(
            "Offline", "PerformanceOnly", tmp_path / engine, engine=misbehaving(bench, engine)
        )
        # What it leaves beside its engine file is not for others to see.
        own = tmp_path / f"{engine}.engine"
        own.write_bytes(bench.engine_file.read_bytes())
        workers.run(replace(job, engine_file=str(own)), **(LIMITS | limits))

    with pytest.raises(TrialFailure, match="crashed with SIGABRT; last line: about to abort"):
        run("AbortingEngine")
    with pytest.raises(TrialFailure, match="exit code 7; last line: about to exit"):
        run("ExitingEngine")
    with pytest.raises(TrialFailure, match="took longer than the limit of 1 s and was killed"):
        run("HangingEngine", time_limit_s=1)
    ids = (tmp_path / "HangingEngine.ids").read_text().split()
    assert wait_until(lambda: not any(is_running(int(word)) for word in ids))
    with pytest.raises(TrialFailure, match=r"MiB of memory, more than the limit 400 MiB"):
        run("HungryEngine", memory_limit_bytes=400 << 20)


def test_a_process_that_died_while_it_waited_is_replaced(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, ())
    assert wait_until(lambda: len(importers(log)) == 1)
    os.kill(importers(log)[0], signal.SIGKILL)
    assert wait_until(lambda: not is_running(importers(log)[0]))
    assert workers.run(slow_job(bench, tmp_path / "run"), **LIMITS).accuracy == 1.0
    assert len(importers(log)) == 2


def test_a_library_that_is_missing_is_told_by_the_job_that_needs_it(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(["no_such_library"], ())
    assert bench_run(bench, workers, tmp_path).accuracy == 1.0


def bench_run(bench: Bench, workers: Workers, folder: Path) -> Any:
    return workers.run(bench.job("Offline", "AccuracyOnly", folder / "run"), **LIMITS)


def test_nothing_waits_after_the_end(workers: Workers, log: Path) -> None:
    workers.prepare(SLOW, (), count=2)
    assert wait_until(lambda: len(importers(log)) == 2)
    workers.close()
    assert not any(map(is_running, importers(log)))


def test_a_process_that_waits_dies_with_its_killed_parent(log: Path) -> None:
    code = (
        "import time\n"
        "from autosinian.measure.workers import Workers\n"
        "workers = Workers(forks=False)\n"
        "workers.prepare(['tests.measure.slow_library'], ())\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert wait_until(lambda: len(importers(log)) == 1)
        assert is_running(importers(log)[0])
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not is_running(importers(log)[0]))


def test_it_can_be_waited_for_until_the_imports_are_done(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.settle()
    start = time.monotonic()
    workers.prepare(SLOW, (), count=2)
    workers.settle()
    assert time.monotonic() - start > IMPORT_S
    workers.settle()
    assert workers.run(slow_job(bench, tmp_path / "run"), **LIMITS).accuracy == 1.0
    (left,) = filter(is_running, importers(log))
    os.kill(left, signal.SIGKILL)
    workers.settle()


def test_imports_hold_off_measurements_and_measurements_new_imports(
    workers: Workers, log: Path
) -> None:
    held = keep_working()
    assert held is not None
    start = time.monotonic()
    workers.prepare(SLOW, (), held=held)
    for handle in held:
        os.close(handle)
    assert time.monotonic() - start < IMPORT_S / 2
    with alone():
        assert time.monotonic() - start > IMPORT_S
        assert is_running(importers(log)[0])
        assert keep_working() is None


def test_a_timed_run_waits_until_every_worker_is_at_rest(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, (), count=2)
    assert wait_until(lambda: len(importers(log)) == 2)
    job = bench.job("Offline", "RawLoop", tmp_path, settings={"min_duration_ms": 50})
    states: list[bool] = []

    def look() -> None:
        began = time.monotonic()
        workers.settle()
        states.append(time.monotonic() - began < IMPORT_S / 4)

    workers.run(job, **LIMITS, started=look)
    assert states == [True]


@pytest.mark.parametrize("mode", ["RawLoop", "PerformanceOnly"])
def test_no_worker_gets_ready_during_a_timed_run(
    mode: str, bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    job = bench.job("Offline", mode, tmp_path)
    for start in (lambda: workers.prepare(SLOW, ()), lambda: workers.open_early(job)):
        with pytest.raises(RuntimeError, match="while a timed run is on"):
            workers.run(job, **LIMITS, started=start)
    assert importers(log) == []
    workers.prepare(SLOW, ())
    workers.settle()
    assert len(importers(log)) == 1
