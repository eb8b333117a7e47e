"""Two "devices" of the processor: the engine gives the environment's GPUs no meaning."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import InputError, TrialFailure
from autosinian.measure.device_feed import DevicesFeed
from autosinian.measure.process import run
from tests.measure.conftest import LIMITS, ROOT, SAMPLES, Bench
from tests.measure.test_process import is_running, misbehaving, wait_until

TWO = (0, 1)


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_two_devices_label_as_one(scenario: str, bench: Bench, tmp_path: Path) -> None:
    labels = np.load(bench.labels)
    labels[::7] = (labels[::7] + 1) % 10
    np.save(tmp_path / "labels.npy", labels)
    found = {
        devices: bench.run(
            scenario,
            "AccuracyOnly",
            tmp_path / str(len(devices)),
            devices=devices,
            labels=str(tmp_path / "labels.npy"),
        )
        for devices in ((), TWO)
    }
    assert found[TWO].valid, found[TWO].invalid_reason
    assert found[TWO].accuracy == found[()].accuracy == pytest.approx(1 - 43 / SAMPLES)
    assert found[TWO].samples == SAMPLES
    assert found[TWO].versions["device"] == f"2 x {found[()].versions['device']}"


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_two_devices_serve_a_performance_run(scenario: str, bench: Bench, tmp_path: Path) -> None:
    # Enough queries for early stopping, at a rate that a busy machine holds too.
    settings = {"server_target_qps": 800, "min_duration_ms": 900} if scenario == "Server" else {}
    measured = bench.run(
        scenario, "PerformanceOnly", tmp_path, devices=TWO, labels=None, settings=settings
    )
    assert measured.valid, measured.invalid_reason
    assert measured.samples_per_second


def test_the_raw_loop_runs_on_both(bench: Bench, tmp_path: Path) -> None:
    measured = bench.run("Offline", "RawLoop", tmp_path, devices=TWO, labels=None)
    assert measured.samples_per_second
    assert measured.samples > 0


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream"])
def test_one_query_after_another_is_served_by_the_first_device(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    measured = bench.run(scenario, "AccuracyOnly", tmp_path, devices=TWO)
    assert measured.accuracy == 1.0
    assert not measured.versions["device"].startswith("2 x")


def test_batches_are_spread_and_each_gives_its_own_logits(bench: Bench, tmp_path: Path) -> None:
    feed = DevicesFeed(bench.job("Offline", "PerformanceOnly", tmp_path, devices=TWO))
    labels = np.load(bench.labels)
    rows = np.random.default_rng(0).integers(0, SAMPLES, (200, feed.batch_size))
    feed.load(list(range(SAMPLES)))
    found = np.full(rows.shape, -1)
    threads: set[str] = set()
    for number, batch in enumerate(rows):

        def on_done(
            logits: np.ndarray | None, error: BaseException | None, number: int = number
        ) -> None:
            assert logits is not None, error
            threads.add(threading.current_thread().name)
            found[number] = logits.argmax(axis=1)

        feed.submit(batch.copy(), on_done)
    feed.wait()
    assert (found == labels[rows]).all()
    assert threads == {"device-0", "device-1"}
    assert (feed.infer(rows[0, :3]).argmax(axis=1) == labels[rows[0, :3]]).all()
    with pytest.raises(IndexError, match="sample indices must be from 0 to 299"):
        feed.check(np.array([SAMPLES]))
    feed.close()


def test_more_samples_than_a_message_holds_are_loaded(bench: Bench, tmp_path: Path) -> None:
    feed = DevicesFeed(bench.job("Offline", "PerformanceOnly", tmp_path, devices=TWO))
    feed.load([number % SAMPLES for number in range(50_000)])
    feed.close()


def test_what_an_engine_does_wrong_on_a_device_is_told_as_on_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)

    def ends(engine: str, folder: str) -> None:
        bench.run(
            "Offline",
            "PerformanceOnly",
            tmp_path / folder,
            engine=misbehaving(bench, engine),
            devices=TWO,
            settings={"min_duration_ms": 3000},
        )

    with pytest.raises(TrialFailure, match=r"the process of GPU \d crashed with SIGABRT") as crash:
        ends("AbortingEngine", "abort")
    assert crash.value.stage == "performance"
    assert not crash.value.transient
    assert "about to abort" in (tmp_path / "abort" / "run_stderr.txt").read_text()
    with pytest.raises(TrialFailure, match=r"the process of GPU \d ended with exit code 7"):
        ends("ExitingEngine", "exit")
    with pytest.raises(TrialFailure, match="RuntimeError: the engine broke down"):
        ends("RaisingEngine", "raise")
    other = tmp_path / "other.engine"
    other.write_text("junk")
    with pytest.raises(InputError, match="is not an engine file"):
        bench.run("Offline", "PerformanceOnly", tmp_path / "x", devices=TWO, engine_file=str(other))


def test_a_device_killed_in_the_middle_is_one_failure_and_leaves_no_process(
    bench: Bench, tmp_path: Path
) -> None:
    job = bench.job(
        "Offline", "PerformanceOnly", tmp_path, devices=TWO, settings={"min_duration_ms": 20_000}
    )
    seen: list[int] = []

    def kill_one() -> None:
        log = tmp_path / "mlperf_log_detail.txt"
        if wait_until(log.exists, 30):
            worker = children(os.getpid(), tmp_path / "run_job.json")
            seen.extend([*worker, *children(worker[0], "device_worker")])
            os.kill(seen[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(TrialFailure, match=r"GPU \d was killed by SIGKILL from outside") as raised:
        run(replace(job, labels=None), **LIMITS)
    killer.join()
    assert raised.value.transient
    assert raised.value.stage == "performance"
    assert len(seen) == 3
    assert wait_until(lambda: not any(map(is_running, seen)))


def children(process: int, told: object) -> list[int]:
    """The children of a process whose command line names `told`."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
            if str(told) in command:
                found.append(int(child))
    return found
