import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.content import write_json
from autosinian.errors import InputError, TrialFailure
from autosinian.measure.measurement import BuildJob
from autosinian.measure.process import build, run
from tests.engine.small_models import write_conv_model, write_unknown_operator_model
from tests.measure.conftest import LIMITS, ROOT, Bench


def misbehaving(bench: Bench, name: str) -> dict[str, Any]:
    return bench.engine | {"engine": f"tests.measure.worker_engines:{name}"}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # workers import `tests.measure.worker_engines`


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_worker_imports_neither_torch_nor_optuna_nor_onnxruntime(
    bench: Bench, tmp_path: Path
) -> None:
    bench.run("Offline", "AccuracyOnly", tmp_path)
    modules = set(json.loads((tmp_path / "run_result.json").read_text())["modules"])
    assert {"numpy", "openvino", "mlperf_loadgen"} <= modules
    assert not modules & {"torch", "optuna", "onnxruntime", "onnx", "ofa", "sqlalchemy"}


def test_an_engine_file_is_built_in_a_worker(bench: Bench, tmp_path: Path) -> None:
    model = write_conv_model(tmp_path / "model.onnx", int8=True)
    job = BuildJob(
        bench.engine, str(model), "int8", str(tmp_path / "model.engine"), str(tmp_path / "log")
    )
    result = build(job, **LIMITS)
    assert (tmp_path / "model.engine").exists()
    assert 0 < result.build_s < result.worker_s
    assert result.peak_memory_bytes > 10 << 20


def test_a_workers_memory_is_its_own_and_not_its_larger_parents(
    bench: Bench, tmp_path: Path
) -> None:
    large = np.ones(600 << 20, np.uint8)
    measured = bench.run("Offline", "RawLoop", tmp_path)
    assert 10 << 20 < measured.peak_memory_bytes < 500 << 20
    assert large.all()


def test_what_a_build_refuses_reaches_the_caller_as_what_it_is(
    bench: Bench, tmp_path: Path
) -> None:
    engine_file, log = str(tmp_path / "model.engine"), str(tmp_path / "log")
    unknown = write_unknown_operator_model(tmp_path / "unknown.onnx")
    with pytest.raises(TrialFailure, match=r"build: .*Frobnicate"):
        build(BuildJob(bench.engine, str(unknown), "fp32", engine_file, log), **LIMITS)
    junk = tmp_path / "junk.onnx"
    junk.write_text("junk")
    with pytest.raises(InputError, match=r"junk\.onnx must be an ONNX file"):
        build(BuildJob(bench.engine, str(junk), "fp32", engine_file, log), **LIMITS)


def test_a_crash_is_a_failure_with_its_signal_and_last_words(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(TrialFailure, match="crashed with SIGABRT; last line: about to") as raised:
        bench.run(
            "Offline", "PerformanceOnly", tmp_path, engine=misbehaving(bench, "AbortingEngine")
        )
    assert raised.value.stage == "performance"
    assert not raised.value.transient
    assert "about to abort" in (tmp_path / "run_stderr.txt").read_text()


def test_an_early_exit_is_a_failure_with_its_code(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(TrialFailure, match="exit code 7; last line: about to exit") as raised:
        bench.run("Offline", "AccuracyOnly", tmp_path, engine=misbehaving(bench, "ExitingEngine"))
    assert raised.value.stage == "accuracy"


@pytest.mark.parametrize("scenario", ["Offline", "Server", "SingleStream", "MultiStream"])
def test_an_exception_within_loadgens_callback_is_a_failure_with_its_words(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(TrialFailure, match="RuntimeError: the engine broke down"):
        bench.run(
            scenario,
            "PerformanceOnly",
            tmp_path,
            engine=misbehaving(bench, "RaisingEngine"),
            settings={"min_duration_ms": 3000, "server_target_qps": 2000},
            sut={"warmup_s": 0.001},
        )


def test_a_hang_ends_at_the_time_limit_with_all_its_processes(bench: Bench, tmp_path: Path) -> None:
    engine_file = tmp_path / "model.engine"
    engine_file.write_bytes(bench.engine_file.read_bytes())
    job = bench.job(
        "Offline",
        "PerformanceOnly",
        tmp_path,
        engine=misbehaving(bench, "HangingEngine"),
        engine_file=str(engine_file),
    )
    start = time.monotonic()
    with pytest.raises(TrialFailure, match=r"took longer than the limit of 2 s and was killed"):
        run(job, time_limit_s=2, memory_limit_bytes=2 << 30)
    assert time.monotonic() - start < 4
    processes = [int(word) for word in engine_file.with_suffix(".ids").read_text().split()]
    assert len(processes) == 2
    assert wait_until(lambda: not any(map(is_running, processes)))


def test_too_much_memory_is_a_failure_that_says_so(bench: Bench, tmp_path: Path) -> None:
    job = bench.job(
        "Offline", "PerformanceOnly", tmp_path, engine=misbehaving(bench, "HungryEngine")
    )
    with pytest.raises(TrialFailure, match=r"MiB of memory, more than the limit 400 MiB"):
        run(job, time_limit_s=30, memory_limit_bytes=400 << 20)


def test_a_worker_killed_from_outside_may_be_tried_again(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    job = bench.job("Offline", "PerformanceOnly", tmp_path)
    with pytest.raises(TrialFailure, match="killed by SIGKILL from outside") as raised:
        run(job, **LIMITS, python=[sys.executable, str(script)])
    assert raised.value.transient


def test_an_interpreter_that_does_not_exist_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    job = bench.job("Offline", "PerformanceOnly", tmp_path)
    with pytest.raises(TrialFailure, match="the worker cannot be started"):
        run(job, **LIMITS, python=[str(tmp_path / "no_python")])


def test_a_stale_result_is_never_taken_for_a_new_one(bench: Bench, tmp_path: Path) -> None:
    bench.run("Offline", "AccuracyOnly", tmp_path)
    with pytest.raises(TrialFailure, match="SIGABRT"):
        bench.run("Offline", "AccuracyOnly", tmp_path, engine=misbehaving(bench, "AbortingEngine"))


def test_the_worker_dies_with_its_killed_parent(bench: Bench, tmp_path: Path) -> None:
    engine_file = tmp_path / "model.engine"
    engine_file.write_bytes(bench.engine_file.read_bytes())
    job = bench.job(
        "Offline",
        "PerformanceOnly",
        tmp_path,
        engine=misbehaving(bench, "HangingEngine"),
        engine_file=str(engine_file),
    )
    write_json(tmp_path / "job.json", job.to_dict())
    code = (
        "import json, sys; from pathlib import Path\n"
        "from autosinian.measure.measurement import Job\n"
        "from autosinian.measure.process import run\n"
        "job = Job.from_dict(json.loads(Path(sys.argv[1]).read_text()))\n"
        "run(job, time_limit_s=60, memory_limit_bytes=2 << 30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json")])
    ids = engine_file.with_suffix(".ids")
    try:
        assert wait_until(ids.exists, 30)
        worker, child = (int(word) for word in ids.read_text().split())
        assert is_running(worker)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not is_running(worker))
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
