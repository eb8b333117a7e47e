"""A model of integers as an engine: exactness, speed of its executor, LoadGen over the raw loop.

    python benchmarks/int4_serving.py MODEL --output RESULTS.csv [--arrays DIR] [--autoconfig FILE]

MODEL is a model folder, or a tar archive with a folder `model`. DIR has inputs.npy and labels.npy
as `autosinian int4 preprocess` makes them (random images without it, whose logits and speed are as
good). Figures, in the order in which `--figures` names them: `serving` (LoadGen Offline and the raw
loop, alternating in workers that are ready beforehand), `accuracy` (top-1 by LoadGen), `lane` (on a
GPU: what a batch spends its time on), `exactness` (on a GPU: logits bit for bit those of the
processor), `predict`. Each row is written as soon as it
is known; what fails is told and left out; nothing begins after `--time`.
"""

import argparse
import csv
import datetime
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import AutosinianError
from autosinian.int4.devices import open_executor
from autosinian.int4.engine import Int4Engine
from autosinian.int4.images import INPUTS, LABELS
from autosinian.int4.model import Model, open_model
from autosinian.int4.predict import top1
from autosinian.measure.core_waits import WAITED
from autosinian.measure.measurement import BuildJob, Job, Measurement
from autosinian.measure.process import build, run
from autosinian.measure.raw_loop import Ready, raw_loop
from autosinian.measure.spare import Spares
from autosinian.space.candidate import EngineConfig, Option

TIME_LIMIT_S = 300.0
MEMORY_LIMIT = 32 << 30
RANDOM_IMAGES = 1024
SPARES = 2
LANE_SECONDS = 2.0
COMPARED = 32
FIELDS = ("date", "device", "torch", "cores", "load_average", "figure", "batch_size", "streams")
VALUES = ("value", "unit", "ratio", "rounds", "sut", "waited_for_cores_s", "disturbance")
FIGURES = ("serving", "accuracy", "lane", "exactness", "predict")

Row = dict[str, Any]


class Bench:
    """What is measured and where its files lie."""

    def __init__(self, model: Model, work: Path, arguments: argparse.Namespace) -> None:
        self.model, self.work, self.arguments = model, work, arguments
        self.engine = Int4Engine()
        self.gpu = self.engine.uses_gpu()
        self.inputs, self.labels = _arrays(model, work, arguments.arrays)
        self.archive = work / "model.int4"
        self.archive.write_bytes(model.archive)
        self.device = "cuda" if self.gpu else "cpu"
        self.devices = (0,) if self.gpu else ()
        self.end = time.monotonic() + arguments.time
        self.sut = ""
        self.spares = Spares()

    def make_ready(self) -> None:
        """Have as many processes as a round needs wait with all imported, and wait for them: what
        gets ready on a GPU, or ends there, would disturb what is measured."""
        if not self.gpu:
            return
        modules = ("mlperf_loadgen", *self.engine.slow_imports())
        for _ in range(2):  # what they are forked from comes first
            self.spares.prepare(
                modules, engine=self.engine.name, count=SPARES, devices=self.devices
            )
            self.spares.settle()

    def over(self) -> bool:
        """Whether the time is."""
        return bool(time.monotonic() > self.end)

    def images(self) -> NDArray[np.int8]:
        """The images, mapped."""
        images: NDArray[np.int8] = np.load(self.inputs, mmap_mode="r")
        return images

    def exactness(self) -> Iterator[Row]:
        """How many images have the reference's logits on the GPU, and their accuracy."""
        images = np.asarray(self.images()[:COMPARED])
        reference = open_executor(self.model.network, "cpu").logits(images)
        logits = self.executor(len(images) // 2 + 1).logits(images)
        equal = int((logits == reference).all(1).sum())
        yield {"figure": "images with equal logits", "value": equal, "unit": f"of {len(images)}"}

    def accuracy(self) -> Iterator[Row]:
        """Top-1 of all labelled images by LoadGen, through the engine's own session."""
        if self.labels is None:
            return
        batch = self.arguments.batches[-1]
        self.build(batch)
        measured = self.run(self.job(batch, 1, "AccuracyOnly"))
        yield {
            "figure": "top-1",
            "batch_size": batch,
            "value": measured.accuracy,
            "unit": f"of {measured.samples}",
        }

    def executor(self, batch: int) -> Any:
        """The device's executor with the chosen kernels."""
        return open_executor(
            self.model.network,
            self.device,
            self.arguments.autoconfig if self.gpu else None,
            batch_size=batch,
        )

    def predicting(self) -> Iterator[Row]:
        """Images/s of the executor as `autosinian int4 predict` runs it, from host memory."""
        count = self.arguments.images
        images = np.asarray(self.images()[:count])
        executor = self.executor(self.arguments.batches[-1])
        executor.logits(images[:COMPARED])
        rates = []
        for _ in range(self.arguments.rounds):
            start = time.perf_counter()
            logits = executor.logits(images)
            rates.append(len(images) / (time.perf_counter() - start))
        row = {"figure": "predict", "value": statistics.median(rates), "unit": "images/s"}
        yield {**row, "rounds": len(rates)}
        if self.labels is not None:
            found = top1(self.model.network, logits, np.load(self.labels)[: len(images)])
            yield {"figure": "top-1 by predict", "value": found.accuracy, "unit": f"of {count}"}

    def serving(self, batch: int, streams: int) -> Iterator[Row]:
        """LoadGen Offline and the raw loop, alternating, each in a fresh worker."""
        self.build(batch)
        rates: dict[str, list[float]] = {"RawLoop": [], "PerformanceOnly": []}
        seen: dict[str, Row] = {mode: {} for mode in rates}
        for number in range(self.arguments.rounds):
            if number and self.over():
                break
            self.make_ready()
            for mode in list(rates)[:: 1 if number % 2 == 0 else -1]:
                measured = self.run(self.job(batch, streams, mode))
                rates[mode].append(float(measured.samples_per_second or 0))
                seen[mode] = _seen(measured, seen[mode])
                told = f"batch {batch}: {mode} {rates[mode][-1]:,.0f} images/s"
                print(told, seen[mode], file=sys.stderr)
        ratios = [b / a for a, b in zip(rates["RawLoop"], rates["PerformanceOnly"], strict=True)]
        common = {"batch_size": batch, "streams": streams, "unit": "images/s"}
        common["rounds"] = len(ratios)
        raw = statistics.median(rates["RawLoop"])
        yield {**common, "figure": "raw loop", "value": raw, **seen["RawLoop"]}
        value = statistics.median(rates["PerformanceOnly"])
        ratio = round(statistics.median(ratios), 4)
        sut = {"sut": self.sut, **seen["PerformanceOnly"]}
        yield {**common, "figure": "LoadGen Offline", "value": value, "ratio": ratio, **sut}

    def lane(self, batch: int) -> Iterator[Row]:
        """Milliseconds of each part of a batch on the device, and images/s of a whole session."""
        for name, seconds in lane_parts(self.model, batch, self.images()):
            yield {"figure": name, "batch_size": batch, "value": 1e3 * seconds, "unit": "ms"}
        self.build(batch)
        config = EngineConfig.make("int4", batch, **self.options(1))
        session = self.engine.open(self.file(batch), config)
        try:
            images: NDArray[Any] = np.asarray(self.images()[:RANDOM_IMAGES])
            session.place(images)
            rows = np.random.default_rng(1).integers(0, len(images), batch)
            submit = partial(session.submit_rows, rows)
            ready = Ready(batch, (submit,), lambda n: session.infer_rows(rows[:n]), session.wait)
            raw_loop(ready, 0.5)
            rate, _, _ = raw_loop(ready, LANE_SECONDS)
        finally:
            session.close()
        common = {"batch_size": batch, "streams": 1}
        yield {**common, "figure": "a session's batch", "value": 1e3 * batch / rate, "unit": "ms"}
        yield {**common, "figure": "a session alone", "value": rate, "unit": "images/s"}

    def build(self, batch: int) -> None:
        """The engine file of a batch size, once."""
        if self.file(batch).exists():
            return
        job = BuildJob(
            engine={"engine": "int4", "batch_size": batch, "options": self.options(1)},
            model=str(self.archive),
            precision="int4",
            engine_file=str(self.file(batch)),
            log_folder=str(self.work / f"build-{batch}"),
            devices=self.devices,
        )
        build(
            job,
            time_limit_s=TIME_LIMIT_S,
            memory_limit_bytes=MEMORY_LIMIT,
            spares=self.spares,
        )

    def file(self, batch: int) -> Path:
        """Where the engine file of a batch size lies."""
        return self.work / f"{batch}.engine"

    def options(self, streams: int) -> dict[str, Option]:
        """All settings: samples on the device and CUDA graphs where there is one."""
        options: dict[str, Option] = {t.name: t.default for t in self.engine.tunables()}
        if self.gpu:
            options |= {"samples": "device", "graphs": True, "copy_streams": 0}
        return options | {"streams": streams}

    def job(self, batch: int, streams: int, mode: str) -> Job:
        """One run."""
        seconds = self.arguments.seconds
        settings: dict[str, int | float | bool] = {"min_duration_ms": round(1000 * seconds)}
        if mode == "PerformanceOnly":
            settings["min_query_count"] = 1
        return Job(
            engine={"engine": "int4", "batch_size": batch, "options": self.options(streams)},
            engine_file=str(self.file(batch)),
            inputs=str(self.inputs),
            labels=None if self.labels is None else str(self.labels),
            scenario="Offline",
            mode=mode,
            output_folder=str(self.work / f"{mode}-{batch}-{streams}"),
            settings=settings,
            devices=self.devices,
        )

    def run(self, job: Job) -> Measurement:
        """One run in a fresh worker. Raises where it is not valid."""
        measured = run(
            job,
            time_limit_s=TIME_LIMIT_S,
            memory_limit_bytes=MEMORY_LIMIT,
            spares=self.spares,
        )
        self.sut = measured.versions.get("sut", self.sut)
        if not measured.valid:
            raise AutosinianError(f"{job.mode} is not valid: {measured.invalid_reason}")
        return measured

    def rows(self) -> Iterator[Iterator[Row]]:
        """Groups of figures in order; a group that fails does not end the others."""
        for figure in self.arguments.figures:
            if figure == "serving":
                for batch in self.arguments.batches:
                    for streams in self.arguments.streams:
                        yield self.serving(batch, streams)
            elif figure == "accuracy":
                yield self.accuracy()
            elif figure == "predict":
                yield self.predicting()
            elif figure == "lane" and self.gpu:
                for batch in self.arguments.batches:
                    yield self.lane(batch)
            elif figure == "exactness" and self.gpu:
                yield self.exactness()


def lane_parts(model: Model, batch: int, images: NDArray[np.int8]) -> Iterator[tuple[str, float]]:
    """Names and seconds of parts of a lane's graph, and how many kernels are chosen by a rule."""
    import torch

    from autosinian.engine.torch_lane import in_words
    from autosinian.int4.gpu.chosen import chosen
    from autosinian.int4.gpu.device import open_device
    from autosinian.int4.gpu.executor import Executor, PreparedNetwork
    from autosinian.int4.gpu.plan import plan
    from autosinian.int4.gpu.served import ServedNetwork
    from autosinian.int4.gpu.timing import timed_graph
    from autosinian.int4.known_kernels import known_configuration

    device, planned = open_device(), plan(model.network)
    place = device.torch_device
    choices = chosen(planned, model.autoconfig, device.shared_bytes)
    executor = Executor(PreparedNetwork(planned, device), batch, choices)
    by_rule = [
        layer.name
        for layer in planned.convolutions()
        if layer.name not in choices
        and known_configuration(layer.shape, batch, device.name, device.shared_bytes) is None
    ]
    told = f"batch {batch}: {len(choices)} kernels by the autoconfig, {len(by_rule)} by the rule"
    print(told, *by_rule, file=sys.stderr, flush=True)
    scale = torch.from_numpy(np.array(model.network.out_scale)).to(place)
    placed = torch.from_numpy(np.array(images[:RANDOM_IMAGES])).flatten(1).to(place)
    numbers = torch.randint(0, len(placed), (batch,), device=place)
    logits = torch.zeros(batch, executor.classes, pin_memory=True)
    alone, given = executor.input.random_(-127, 128), executor.input.flatten(1)
    served = ServedNetwork(executor, scale)

    def whole() -> None:
        logits.copy_(served.of_rows(placed, numbers), non_blocking=True)

    def gather(words: bool) -> None:
        source, target = (in_words(placed), in_words(given)) if words else (placed, given)
        torch.index_select(source, 0, numbers, out=target)

    def arrange(source: torch.Tensor, rows: torch.Tensor | None) -> None:
        executor.input, executor.rows = source, rows
        executor.run_image()

    parts: dict[str, Callable[[], object]] = {
        "the network": lambda: served(alone),
        "arranging images": lambda: arrange(alone, None),
        "arranging rows": lambda: arrange(placed.view(-1, *executor.input_shape), numbers),
        "scaled logits to the host": lambda: logits.copy_(executor.output / scale, True),
        "a gather by bytes": lambda: gather(words=False),
        "a gather by words": lambda: gather(words=True),
        "rows to logits": whole,
    }
    with torch.inference_mode():
        for name, part in parts.items():

            def run(part: Callable[[], object] = part) -> None:
                part()

            run()
            torch.cuda.synchronize()
            yield name, timed_graph(run, 4)


def _seen(measured: Measurement, before: Row) -> Row:
    """What may have slowed runs down: the longest wait for cores, and what disturbed one."""
    waited = max(measured.machine.get(WAITED, 0.0), before.get(WAITED, 0.0))
    return {WAITED: waited, "disturbance": measured.disturbance or before.get("disturbance", "")}


def _arrays(model: Model, work: Path, folder: Path | None) -> tuple[Path, Path | None]:
    if folder is not None:
        return (folder / INPUTS).absolute(), (folder / LABELS).absolute()
    shape = (RANDOM_IMAGES, *model.network.input_shape)
    np.save(work / INPUTS, np.random.default_rng(0).integers(-127, 128, shape, dtype=np.int8))
    return work / INPUTS, None


def _open(path: Path, work: Path, autoconfig: Path | None) -> Model:
    if path.is_dir():
        return open_model(path, autoconfig)
    with tarfile.open(path) as archive:
        archive.extractall(work / "source", filter="data")
    return open_model(work / "source" / "model", autoconfig)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, help="folder of inputs.npy and labels.npy")
    parser.add_argument("--autoconfig", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--streams", type=int, nargs="+", default=[1])
    parser.add_argument("--images", type=int, default=256, help="images that are predicted")
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=FIGURES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--time", type=float, default=240.0, help="no new group after so long")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bench = Bench(_open(arguments.model, work, arguments.autoconfig), work, arguments)
        common = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": bench.engine.device(),
            "torch": bench.engine.versions()["torch"],
            "cores": len(os.sched_getaffinity(0)),
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        rows: list[Row] = []
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, (*FIELDS, *VALUES))
            writer.writeheader()
            for group in bench.rows():
                if bench.over():
                    print("time is over; the rest is left out", file=sys.stderr)
                    break
                try:
                    for row in group:
                        load = round(os.getloadavg()[0], 1)
                        rows.append({**common, "load_average": load, **row})
                        writer.writerow(rows[-1])
                        stream.flush()
                        print(row, file=sys.stderr, flush=True)
                except (AutosinianError, RuntimeError, MemoryError, OSError) as error:
                    print(f"left out: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        bench.spares.close()
    print(f"{'figure':<26}{'batch':>6}{'streams':>8}{'value':>14}  unit")
    for row in rows:
        ratio = f", {row['ratio']} of the raw loop" if "ratio" in row else ""
        print(
            f"{row['figure']:<26}{row.get('batch_size', ''):>6}{row.get('streams', ''):>8}"
            f"{row['value']:>14,.4g}  {row['unit']}{ratio}"
        )


if __name__ == "__main__":
    main()
