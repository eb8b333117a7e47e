"""What a batch loses in a worker process, and to whom: one cause switched at a time.

    python benchmarks/worker_disturbance.py MODEL --output RESULTS.csv [--batch 256] [--time 90]

Run in the repository. MODEL is a model of integers, as for `int4_serving.py`. Each row runs the
same session: in this process, in a worker started by itself, or in a worker forked from a zygote,
beside 0 or 2 workers that wait with a context on the GPU; its thread waits `spinning` or `asleep`;
with `hogs` processes that keep cores busy (half as many again as there are cores). `lost_ms` is
what a batch took longer than in the first row. If workers that wait disturb, rows with 2 of them
lose; if
being a worker does, rows of workers lose without hogs; if it is cores that are missing, rows with
hogs lose, those that wait asleep less, and `waited_for_cores_s` tells it.
"""

import argparse
import csv
import datetime
import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autosinian.engine.device_session import DeviceSession, waits_asleep
from autosinian.engine.gpu import asked, open_nvml
from autosinian.errors import AutosinianError, InputError
from autosinian.int4.engine import Int4Engine
from autosinian.measure.core_waits import WAITED, CoreWaits
from autosinian.measure.process import run
from autosinian.measure.raw_loop import Ready, raw_loop
from autosinian.measure.spare import Spares
from autosinian.space.candidate import EngineConfig

FIELDS = (
    *("date", "device", "torch", "cores", "batch_size", "place", "mode", "waiting", "wait", "hogs"),
    *("ms_a_batch", "lost_ms", "waited_for_cores_s", "seconds", "load_average", "sut"),
    *("disturbance", "gpu_percent_by_process"),
)
WARMUP_S = 0.3


class Spinning(Int4Engine):
    """The engine whose threads never sleep while they wait."""

    def open(self, engine_file: Path, config: EngineConfig) -> DeviceSession:
        torch_gpu_lane = importlib.import_module("autosinian.engine.torch_gpu_lane")
        torch_gpu_lane.waits_asleep = lambda batch_s: False  # type: ignore[attr-defined]
        return super().open(engine_file, replace(config, engine="int4"))


ENGINES = {"asleep": "int4", "spinning": "benchmarks.worker_disturbance:Spinning"}


@dataclass(frozen=True)
class Case:
    """One row's settings."""

    place: str
    mode: str
    wait: str
    waiting: int = 0
    hogs: bool = False


CASES = (
    Case("this process", "RawLoop", "spinning"),
    Case("this process", "RawLoop", "asleep"),
    Case("forked", "RawLoop", "spinning"),
    Case("forked", "RawLoop", "spinning", 2),
    Case("forked", "RawLoop", "spinning", hogs=True),
    Case("forked", "RawLoop", "asleep", hogs=True),
    Case("forked", "PerformanceOnly", "spinning", hogs=True),
    Case("forked", "PerformanceOnly", "asleep", hogs=True),
    Case("forked", "PerformanceOnly", "asleep"),
    Case("this process", "RawLoop", "spinning", hogs=True),
    Case("this process", "RawLoop", "asleep", hogs=True),
    Case("forked", "RawLoop", "asleep", 2),
    Case("by itself", "RawLoop", "spinning"),
    Case("by itself", "RawLoop", "asleep"),
)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that only compute."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in started:
        process.start()
    try:
        time.sleep(1.0 if started else 0.0)  # until they have started
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


def _compute() -> None:
    while True:
        pass


def in_this_process(bench: Any, case: Case, batch: int, seconds: float) -> dict[str, Any]:
    """The raw loop over a session opened here."""
    engine = Spinning() if case.wait == "spinning" else Int4Engine()
    torch_gpu_lane = importlib.import_module("autosinian.engine.torch_gpu_lane")
    torch_gpu_lane.waits_asleep = waits_asleep  # type: ignore[attr-defined]
    config = EngineConfig.make("int4", batch, **bench.options(1))
    session = engine.open(bench.file(batch), config)
    try:
        session.place(np.asarray(bench.images()))
        rows = np.arange(batch) % len(bench.images())
        submit = partial(session.submit_rows, rows)
        ready = Ready(batch, (submit,), lambda n: session.infer_rows(rows[:n]), session.wait)
        raw_loop(ready, WARMUP_S)
        waits = CoreWaits()
        rate, _, took = raw_loop(ready, seconds)
        found = waits.machine()
    finally:
        session.close()
    return {"ms_a_batch": 1e3 * batch / rate, "seconds": round(took, 2), **found}


def in_a_worker(bench: Any, case: Case, batch: int, spares: Spares) -> dict[str, Any]:
    """The raw loop or LoadGen in a worker process."""
    job = bench.job(batch, 1, case.mode)
    job = replace(job, engine={**job.engine, "engine": ENGINES[case.wait]})
    if case.place == "forked":
        modules = ("mlperf_loadgen", *bench.engine.slow_imports())
        count = case.waiting + 1
        for _ in range(2):  # what they are forked from comes first
            spares.prepare(modules, engine="int4", count=count, devices=bench.devices)
            spares.settle()
    measured = run(job, time_limit_s=60, memory_limit_bytes=32 << 30, spares=spares)
    return {
        "ms_a_batch": 1e3 * batch / float(measured.samples_per_second or "nan"),
        "seconds": round(measured.loadgen_s, 2),
        WAITED: measured.machine.get(WAITED),
        "sut": measured.versions.get("sut", ""),
        "disturbance": measured.disturbance or measured.invalid_reason,
    }


def by_process(devices: Sequence[int], since_us: int) -> str:
    """Mean share of the GPU that each process had since then, in percent, as NVML tells."""
    shares: dict[int, list[int]] = {}
    try:
        nvml = open_nvml()
    except InputError:
        return ""
    for index in devices:
        handle = asked(nvml.nvmlDeviceGetHandleByIndex, index)
        for seen in asked(nvml.nvmlDeviceGetProcessUtilization, handle, since_us) or ():
            shares.setdefault(int(seen.pid), []).append(int(seen.smUtil))
    names = {os.getpid(): "this"}
    return " ".join(f"{names.get(p, p)}:{sum(s) / len(s):.0f}" for p, s in shares.items())


def main() -> None:
    from int4_serving import Bench, _open  # beside this script

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--time", type=float, default=90.0, help="no new row after so long")
    given = parser.parse_args()
    end = time.monotonic() + given.time
    given.arrays, cores = None, len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, given.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        bench = Bench(_open(given.model, Path(folder), None), Path(folder), given)
        common = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": bench.engine.device(),
            "torch": bench.engine.versions()["torch"],
            "cores": cores,
            "batch_size": given.batch,
        }
        bench.build(given.batch)
        least: float | None = None
        for case in CASES:
            if time.monotonic() > end:
                print("time is over; the rest is left out", file=sys.stderr)
                break
            spares = bench.spares if case.place == "forked" else Spares(forks=False)
            try:
                with hogs(cores * 3 // 2 if case.hogs else 0):
                    since = time.time_ns() // 1000
                    if case.place == "this process":
                        found = in_this_process(bench, case, given.batch, given.seconds)
                    else:
                        found = in_a_worker(bench, case, given.batch, spares)
                    load = round(os.getloadavg()[0], 1)
            except (AutosinianError, RuntimeError, OSError) as error:
                print(f"left out: {case}: {error}", file=sys.stderr)
                continue
            finally:
                if spares is not bench.spares:
                    spares.close()
            least = found["ms_a_batch"] if least is None else least
            row = {**common, **vars(case), "hogs": cores * 3 // 2 if case.hogs else 0, **found}
            row["lost_ms"] = round(found["ms_a_batch"] - least, 3)
            row["ms_a_batch"] = round(found["ms_a_batch"], 3)
            row |= {"load_average": load, "gpu_percent_by_process": by_process((0,), since)}
            writer.writerow(row)
            stream.flush()
            print({k: v for k, v in row.items() if k not in common}, file=sys.stderr, flush=True)
        bench.spares.close()


if __name__ == "__main__":
    main()
