"""Workers forked from a process that has imported what takes long."""

import json
import logging
import os
import resource
import select
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
from autosinian.measure.measurement import BuildJob
from autosinian.measure.process import build, run
from autosinian.measure.workers import Workers
from tests.engine.small_models import write_conv_model, write_unknown_operator_model
from tests.measure.conftest import LIMITS, Bench
from tests.measure.slow_imports import IMPORT_S, SLOW, importers
from tests.measure.test_process import is_running, misbehaving, wait_until


@pytest.fixture
def workers(log: Path) -> Iterator[Workers]:
    opened = Workers()
    yield opened
    opened.close()


def ready(workers: Workers, modules: list[str] = SLOW) -> None:
    """Have a zygote that has imported the slow library."""
    workers.prepare(modules, ())
    workers.settle()


def job_of(bench: Bench, engine: str, folder: Path, **changes: Any) -> Any:
    """A job of a misbehaving engine, with an engine file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "own.engine"
    own.write_bytes(bench.engine_file.read_bytes())
    return bench.job(
        "Offline",
        "AccuracyOnly",
        folder,
        engine=misbehaving(bench, engine),
        engine_file=str(own),
        **changes,
    )


def told(folder: Path) -> dict[str, Any]:
    """What the telling engine wrote of its process."""
    value: dict[str, Any] = json.loads((folder / "own.told").read_text())
    return value


def killing(ids: Path, victim: int | None = None) -> subprocess.Popen[bytes]:
    """A process that kills `victim`, or the first in `ids`, as soon as that file is there."""
    code = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "while not Path(sys.argv[1]).exists(): time.sleep(0.02)\n"
        "words = sys.argv[2:] or Path(sys.argv[1]).read_text().split()\n"
        "os.kill(int(words[0]), signal.SIGKILL)\n"
    )
    given = [] if victim is None else [str(victim)]
    return subprocess.Popen([sys.executable, "-c", code, str(ids), *given])


def test_every_worker_is_a_fresh_process_and_imports_nothing_again(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    ready(workers)
    (zygote,) = importers(log)
    processes = set()
    for name in ("one", "two", "three"):
        measured = workers.run(job_of(bench, "ProcessEngine", tmp_path / name), **LIMITS)
        assert measured.accuracy == 1.0
        process = told(tmp_path / name)
        assert process["parent"] == zygote
        assert process["session"] == process["id"]
        assert process["threads_at_start"] == 1
        # What an earlier worker left in its memory is not there.
        assert process["opened_before"] == 0
        processes.add(process["id"])
    assert len(processes) == 3
    assert importers(log) == [zygote]


def test_workers_are_forked_also_where_none_was_prepared(
    bench: Bench, log: Path, tmp_path: Path
) -> None:
    workers = Workers(modules=("tests.measure.slow_library",))
    try:
        for name in ("one", "two"):
            workers.run(job_of(bench, "ProcessEngine", tmp_path / name), **LIMITS)
            assert told(tmp_path / name)["parent"] == importers(log)[0]
    finally:
        workers.close()
    assert len(importers(log)) == 1


def test_a_worker_gets_the_environment_of_the_moment(
    bench: Bench,
    workers: Workers,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready(workers)
    (first,) = importers(log)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    workers.run(job_of(bench, "ProcessEngine", tmp_path / "one"), **LIMITS)
    assert told(tmp_path / "one")["environment"]["OMP_NUM_THREADS"] == "3"
    assert not is_running(first)
    second = importers(log)[-1]
    assert second != first
    usable = os.sched_getaffinity(0)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        os.sched_setaffinity(0, {min(usable)})
        resource.setrlimit(resource.RLIMIT_NOFILE, (files[0] - 1, files[1]))
        workers.run(job_of(bench, "ProcessEngine", tmp_path / "two"), **LIMITS)
    finally:
        os.sched_setaffinity(0, usable)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    assert told(tmp_path / "two")["cores"] == [min(usable)]
    assert told(tmp_path / "two")["files"] == files[0] - 1
    assert importers(log)[-1] != second


def test_workers_of_gpus_are_forked_from_a_process_that_sees_them_alone(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    workers.prepare(SLOW, (3,))
    workers.settle()
    job = replace(job_of(bench, "ProcessEngine", tmp_path / "run"), devices=(3,))
    workers.run(job, **LIMITS)
    process = told(tmp_path / "run")
    assert process["parent"] == importers(log)[0]
    assert process["environment"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert process["environment"]["CUDA_MODULE_LOADING"] == "LAZY"
    # One that sees no GPU is not forked from it.
    workers.run(job_of(bench, "ProcessEngine", tmp_path / "other"), **LIMITS)
    assert told(tmp_path / "other")["parent"] == os.getpid()


@pytest.mark.parametrize("early", [True, False])
def test_what_a_forked_worker_does_wrong_is_told_as_ever(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path, early: bool
) -> None:
    def run(engine: str, **limits: Any) -> None:
        workers.prepare(SLOW, ())
        workers.settle()
        if not early:
            workers.run(bench.job("Offline", "AccuracyOnly", tmp_path / "takes it"), **LIMITS)
        workers.run(job_of(bench, engine, tmp_path / engine), **(LIMITS | limits))

    with pytest.raises(TrialFailure, match="crashed with SIGABRT; last line: about to abort"):
        run("AbortingEngine")
    with pytest.raises(TrialFailure, match="exit code 7; last line: about to exit"):
        run("ExitingEngine")
    with pytest.raises(TrialFailure, match="took longer than the limit of 1 s and was killed"):
        run("HangingEngine", time_limit_s=1)
    ids = (tmp_path / "HangingEngine" / "own.ids").read_text().split()
    assert wait_until(lambda: not any(is_running(int(word)) for word in ids))
    with pytest.raises(TrialFailure, match=r"MiB of memory, more than the limit 400 MiB"):
        run("HungryEngine", memory_limit_bytes=400 << 20)
    assert len(importers(log)) == 1


def test_a_worker_killed_in_the_middle_leaves_the_next_one_alone(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    ready(workers)
    victim = job_of(bench, "HangingEngine", tmp_path / "one")
    ids = tmp_path / "one" / "own.ids"
    killer = killing(ids)
    with pytest.raises(TrialFailure, match="killed by SIGKILL from outside") as raised:
        workers.run(victim, **LIMITS)
    killer.wait()
    assert raised.value.transient
    # Its own child is in its session, and ended with it.
    assert wait_until(lambda: not any(is_running(int(word)) for word in ids.read_text().split()))
    workers.run(job_of(bench, "SlowEngine", tmp_path / "two"), **LIMITS)
    assert len(importers(log)) == 1


def test_workers_die_with_the_process_they_were_forked_from(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready(workers)
    victim = job_of(bench, "HangingEngine", tmp_path / "one")
    ids = tmp_path / "one" / "own.ids"
    killer = killing(ids, importers(log)[0])
    with pytest.raises(TrialFailure, match="killed by SIGKILL from outside") as raised:
        workers.run(victim, **LIMITS)
    killer.wait()
    assert raised.value.transient
    assert not is_running(int(ids.read_text().split()[0]))
    with caplog.at_level(logging.WARNING):
        measured = workers.run(job_of(bench, "ProcessEngine", tmp_path / "two"), **LIMITS)
    assert measured.accuracy == 1.0
    assert told(tmp_path / "two")["parent"] == os.getpid()
    assert "is lost: it ended with exit code -9" in caplog.text
    # Another one takes its place when workers are prepared again.
    ready(workers)
    workers.run(job_of(bench, "ProcessEngine", tmp_path / "three"), **LIMITS)
    assert told(tmp_path / "three")["parent"] == importers(log)[-1]
    assert len(importers(log)) == 2


def test_all_die_with_the_killed_parent(bench: Bench, log: Path, tmp_path: Path) -> None:
    job = job_of(bench, "HangingEngine", tmp_path / "run")
    (tmp_path / "job.json").write_text(json.dumps(job.to_dict()))
    code = (
        "import json, sys; from pathlib import Path\n"
        "from autosinian.measure.measurement import Job\n"
        "from autosinian.measure.workers import Workers\n"
        "workers = Workers()\n"
        "workers.prepare(['tests.measure.slow_library'], ())\n"
        "workers.settle()\n"
        "workers.prepare(['tests.measure.slow_library'], (), count=2)\n"
        "job = Job.from_dict(json.loads(Path(sys.argv[1]).read_text()))\n"
        "workers.run(job, time_limit_s=60, memory_limit_bytes=2 << 30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json")])
    ids = tmp_path / "run" / "own.ids"
    try:
        assert wait_until(ids.exists, 30)
        worker, child = map(int, ids.read_text().split())
        (zygote,) = importers(log)
        forked = [int(word) for word in children(zygote)]
        assert worker in forked
        assert len(forked) == 2  # the other one waits
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not any(map(is_running, [zygote, *forked])))
    os.kill(child, signal.SIGKILL)


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_nothing_is_left_after_the_end(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    ready(workers)
    workers.prepare(SLOW, (), count=2)
    (zygote,) = importers(log)
    waiting = [int(word) for word in children(zygote)]
    assert len(waiting) == 2
    workers.close()
    assert not any(map(is_running, [zygote, *waiting]))


def test_imports_that_leave_threads_are_made_in_every_worker(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ready(workers, ["tests.measure.threaded_library"])
    assert "is lost: what it imports runs 2 threads" in caplog.text
    workers.run(job_of(bench, "ProcessEngine", tmp_path / "run"), **LIMITS)
    assert told(tmp_path / "run")["parent"] == os.getpid()


def test_an_interpreter_that_cannot_fork_workers_is_told_by_the_job(
    bench: Bench, log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers(("false",))
    try:
        with caplog.at_level(logging.WARNING):
            ready(workers)
        with pytest.raises(TrialFailure, match="exit code 1; last line: it wrote nothing"):
            workers.run(bench.job("Offline", "AccuracyOnly", tmp_path / "run"), **LIMITS)
    finally:
        workers.close()
    assert "is lost: it ended with exit code 1; last line: it wrote nothing" in caplog.text


def test_imports_hold_off_measurements(workers: Workers, log: Path) -> None:
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


@pytest.mark.parametrize("forks", [True, False])
def test_one_worker_builds_and_judges_as_two_do(
    bench: Bench, log: Path, tmp_path: Path, forks: bool
) -> None:
    job = bench.job("Offline", "AccuracyOnly", tmp_path / "apart" / "run")
    building = BuildJob(
        bench.engine,
        str(bench.folder / "model.onnx"),
        "fp32",
        str(tmp_path / "apart.engine"),
        str(tmp_path / "apart" / "build"),
    )
    build(building, **LIMITS)
    apart = run(replace(job, engine_file=building.engine_file), **LIMITS)
    together = tmp_path / "together"
    building = replace(
        building, engine_file=str(tmp_path / "together.engine"), log_folder=str(together / "build")
    )
    job = replace(job, engine_file=building.engine_file, output_folder=str(together / "run"))
    workers = Workers(forks=forks)
    try:
        ready(workers)
        running = workers.build_then_run(building, job, **LIMITS)
        assert Path(building.engine_file).exists()
        assert 0 < running.built.build_s < running.built.worker_s
        assert running.built.peak_memory_bytes > 10 << 20
        measured = running.measurement()
        assert (measured.accuracy, measured.samples) == (apart.accuracy, apart.samples)
        assert measured.versions == apart.versions
        assert measured.loadgen_s < measured.worker_s
    finally:
        workers.close()
    assert len(importers(log)) == 1


def test_what_fails_in_a_worker_of_two_stages_is_told_of_its_own(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    engine_file = str(tmp_path / "model.engine")
    unknown = write_unknown_operator_model(tmp_path / "unknown.onnx")
    building = BuildJob(bench.engine, str(unknown), "fp32", engine_file, str(tmp_path / "build"))
    job = bench.job("Offline", "AccuracyOnly", tmp_path / "run", engine_file=engine_file)
    with pytest.raises(TrialFailure, match=r"build: .*Frobnicate"):
        workers.build_then_run(building, job, **LIMITS)
    good = write_conv_model(tmp_path / "good.onnx")
    building = replace(building, model=str(good), engine=misbehaving(bench, "HangingEngine"))
    job = replace(job, engine=misbehaving(bench, "HangingEngine"))
    running = workers.build_then_run(building, job, time_limit_s=3, memory_limit_bytes=2 << 30)
    with pytest.raises(TrialFailure, match="took longer than the limit of 3 s") as raised:
        running.measurement()
    assert raised.value.stage == "accuracy"
    building = replace(building, engine=misbehaving(bench, "AbortingBuildEngine"))
    with pytest.raises(TrialFailure, match="SIGABRT; last line: about to abort") as raised:
        workers.build_then_run(building, job, **LIMITS)
    assert raised.value.stage == "build"


def test_a_worker_of_two_stages_can_be_given_up_between_them(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    engine_file = tmp_path / "model.engine"
    model = bench.folder / "model.onnx"
    engine = misbehaving(bench, "HangingEngine")
    building = BuildJob(engine, str(model), "fp32", str(engine_file), str(tmp_path / "build"))
    job = bench.job(
        "Offline", "AccuracyOnly", tmp_path / "run", engine=engine, engine_file=str(engine_file)
    )
    running = workers.build_then_run(building, job, **LIMITS)
    ids = engine_file.with_suffix(".ids")
    assert wait_until(ids.exists)
    running.close()
    assert wait_until(lambda: not any(is_running(int(word)) for word in ids.read_text().split()))


@pytest.mark.parametrize("forks", [True, False])
def test_a_job_opened_early_waits_for_leave_to_measure(
    bench: Bench, log: Path, tmp_path: Path, forks: bool
) -> None:
    workers = Workers(forks=forks)
    try:
        ready(workers)
        job = replace(job_of(bench, "ProcessEngine", tmp_path / "run"), mode="PerformanceOnly")
        workers.open_early(job)
        workers.settle()
        process = told(tmp_path / "run")["id"]
        assert is_running(process)
        assert not (tmp_path / "run" / "mlperf_log_detail.txt").exists()
        # Another job leaves it alone, and is done by another process.
        other = job_of(bench, "ProcessEngine", tmp_path / "other")
        assert workers.run(other, **LIMITS).accuracy == 1.0
        measured = workers.run(job, **LIMITS)
        assert measured.valid
        assert told(tmp_path / "run")["id"] == process
        assert told(tmp_path / "other")["id"] != process
        assert measured.samples_per_second
        assert not workers.end_early()
    finally:
        workers.close()


def test_a_job_whose_early_process_fails_is_begun_again(
    bench: Bench, workers: Workers, log: Path, tmp_path: Path
) -> None:
    ready(workers)
    job = replace(job_of(bench, "ProcessEngine", tmp_path / "run"), mode="PerformanceOnly")
    workers.open_early(job)
    workers.settle()
    first = told(tmp_path / "run")["id"]
    ended = os.pidfd_open(first)
    os.kill(first, signal.SIGKILL)
    assert select.select([ended], [], [], 10)[0]  # with all its threads
    os.close(ended)
    assert workers.run(job, **LIMITS).valid
    assert told(tmp_path / "run")["id"] != first
    broken = replace(job, engine_file=str(tmp_path / "none.engine"))
    workers.open_early(broken)
    workers.settle()
    with pytest.raises(Exception, match=r"none\.engine"):
        workers.run(broken, **LIMITS)
    workers.open_early(job)
    workers.settle()
    second = told(tmp_path / "run")["id"]
    assert workers.end_early()
    assert not is_running(second)
    assert workers.run(job, **LIMITS).valid
