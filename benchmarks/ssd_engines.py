"""A detector on one engine in INT8, fp16 and fp32: LoadGen's Offline and SingleStream, COCO mAP.

    python benchmarks/ssd_engines.py MODEL DATA --output benchmarks/results/ssd_openvino.csv
    python benchmarks/ssd_engines.py MODEL DATA --engine tensorrt --worker-python PYTHON \\
        --batch-size 64 --precisions fp32 int8 int8-all-fused fp16 --fallback int8-implicit

MODEL is a detector.pt, DATA a VOC data set with the splits train, val and test. INT8 is equalized,
calibrated on train, and has the exceptions of `--exceptions` (the list that ssd_quantization chose
on val). Of its names, `int8-all` has no exceptions, `int8-plain` also no Q/DQ before max pooling,
`int8-backbone` also none at the heads, which are float; with `-fused` what a convolution gives to
an addition alone is not rounded, so that TensorRT can add within it; `-implicit` is the same scales
in TensorRT 8's other form. mAP is of test, from the engine files that are timed. Engine files are
built up to four at once, in order; one that failed is not tried again in the same `--work`. Then
runs of all precisions alternate, so that what else the machine does meets all, and a ratio is the
median of its rounds' ratios to fp32. Responses are detections: suppression is part of what is
timed, by compiled code after `autosinian compile-sut`, else by numpy, which bounds fast engines
(column `detections`). The raw loop is the engine alone. `--step build` leaves engine files in
`--work` for a later run.
"""

import argparse
import csv
import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from autosinian import __version__
from autosinian.content import content_key, file_sha256
from autosinian.detection.export import OUTPUT_NAMES
from autosinian.detection.joined import join_outputs
from autosinian.detection.quantization import QuantizationOptions, quantize_on
from autosinian.encodings.exceptions import Exceptions, read_exceptions
from autosinian.encodings.export import export_named, write_onnx
from autosinian.encodings.files import write_encodings
from autosinian.encodings.qdq import quantize_onnx
from autosinian.engine.processor import usable_cores
from autosinian.errors import AutosinianError
from autosinian.evaluate.detectors import engine_form
from autosinian.evaluate.evaluation import scenario_metrics
from autosinian.measure.measurement import BuildJob, Job, Measurement
from autosinian.measure.process import build, run
from autosinian.measure.workers import WorkerChoice
from autosinian.network.detector import DetectorNetwork
from autosinian.search.workbench import Workbench, open_workbench
from autosinian.space.candidate import Candidate, EngineConfig, Option, Quantization
from autosinian.space.document import parse_document

SPACE = """
network: {{source: "{model}"}}
data: {{name: voc, path: "{data}"}}
engine: {engine}
scenarios: [Offline, SingleStream]
objectives: [Offline.samples_per_second]
quantization: {{precision: [fp32]}}
measurement: {{min_duration_s: {seconds}, calibration_samples: {calibration}}}
"""
INT8_FILES = (
    "int8",
    "int8-fused",
    "int8-all",
    "int8-all-fused",
    "int8-plain",
    "int8-plain-fused",
    "int8-backbone",
    "int8-backbone-fused",
)
HEADS = ("loc.", "conf.")
BUILDS = 4
"""Most engine files built at once."""

METRICS = {"Offline": "Offline.samples_per_second", "SingleStream": "SingleStream.latency_ms"}
RAW = {"Offline": "raw loop samples/s", "SingleStream": "raw loop median ms"}
OPTIONS: dict[str, dict[str, Option]] = {
    "tensorrt": {"optimization_level": 2, "samples": "device"},
    "torch": {"samples": "device"},
}
"""What an engine is built and opened with beside its defaults, where it knows the option."""

KEPT = 0.99
"""Least share of fp32's mAP; below it the fallback is measured too."""

BATCH = 8
RUN_LIMIT_S = 120.0
GRACE_S = 15.0
"""A run that began in time may take so much longer; then it is ended."""

MEMORY_LIMIT = 64 << 30


@dataclass(frozen=True)
class Case:
    """One engine file: how the detector computes, and for which scenario."""

    name: str
    scenario: str

    @property
    def precision(self) -> str:
        """As engines call it."""
        return self.name.partition("-")[0]

    @property
    def model(self) -> str:
        """Which ONNX file it is built from."""
        return self.name.removesuffix("-implicit") if self.precision == "int8" else "fp32"

    def __str__(self) -> str:
        return f"{self.name} {self.scenario}"


@dataclass
class Bench:
    """What all runs share, and the engine files there are."""

    opened: Workbench
    models: dict[str, Path]
    batch_size: int
    options: dict[str, Option]
    offline_options: dict[str, Option]
    end: float
    files: dict[Case, Path] = field(default_factory=dict)
    build_s: dict[Case, float] = field(default_factory=dict)

    def candidate(self, case: Case) -> Candidate:
        """The case as the evaluator's jobs are made of."""
        engine = self.opened.engine
        known = {tunable.name: tunable.default for tunable in engine.tunables()}
        given = {**OPTIONS.get(engine.name, {}), **self.options}
        if case.scenario == "Offline":
            given |= self.offline_options
        if case.name.endswith("-implicit"):
            given["int8_mode"] = "implicit"
        options = known | {name: value for name, value in given.items() if name in known}
        size = self.batch_size if case.scenario == "Offline" else 1
        config = EngineConfig.make(engine.name, size, **options)
        subnet = self.opened.network.largest(self.opened.space.resolutions[0])
        return Candidate(subnet, Quantization(case.precision), config)

    def build(self, case: Case, limit_s: float) -> None:
        """Build the case's engine file where it is not there; a failure is told and leaves none."""
        model = self.models[case.model]
        candidate = self.candidate(case)
        engine = candidate.to_dict()["engine"]
        folder = self.opened.folder / "cases" / f"{case.name}-{case.scenario}"
        path = folder / f"{content_key(file_sha256(model), engine)[:12]}.engine"
        failed = path.with_suffix(".failed")
        if failed.exists():
            print(f"{case} was not built before: {failed.read_text()}", file=sys.stderr)
            return
        took = path.with_suffix(".seconds")
        start = time.monotonic()
        if not path.exists():
            workers = self.opened.workers
            job = BuildJob(
                engine=engine,
                model=str(model),
                precision=case.precision,
                engine_file=str(path),
                log_folder=str(folder / "build"),
                devices=workers.devices[:1],
            )
            try:
                build(
                    job,
                    time_limit_s=limit_s,
                    memory_limit_bytes=MEMORY_LIMIT,
                    python=workers.python or None,
                )
            except AutosinianError as error:
                seconds = time.monotonic() - start
                print(f"{case} is not built ({seconds:.0f} s): {error}", file=sys.stderr)
                if seconds < limit_s:
                    failed.parent.mkdir(parents=True, exist_ok=True)
                    failed.write_text(str(error))
                return
            took.write_text(f"{time.monotonic() - start:.1f}")
        if took.exists():
            self.build_s[case] = float(took.read_text())
        self.files[case] = path
        print(f"{case} is there after {time.monotonic() - start:.0f} s", file=sys.stderr)

    def run(self, case: Case, role: Any, mode: str, name: str) -> Measurement:
        """One run of a case."""
        job: Job = self.opened.evaluator.job(
            self.candidate(case), self.files[case], role, case.scenario, mode, name
        )
        if mode == "RawLoop":
            job = replace(job, settings={"min_duration_ms": job.settings["min_duration_ms"]})
        workers = self.opened.workers
        return run(
            job,
            time_limit_s=min(RUN_LIMIT_S, max(1.0, self.end + GRACE_S - time.monotonic())),
            memory_limit_bytes=MEMORY_LIMIT,
            python=workers.python or None,
        )


class Table:
    """One row for each figure of each precision, written anew with every value."""

    def __init__(self, path: Path | None, about: dict[str, object]) -> None:
        self._path, self._about = path, about
        self._before: list[dict[str, Any]] = []
        if path is not None and path.exists():
            with path.open(newline="") as stream:
                self._before = list(csv.DictReader(stream))
        self.values: dict[tuple[str, str], dict[int, float]] = {}
        self._told: dict[tuple[str, str], dict[str, object]] = {}

    def add(self, metric: str, name: str, number: int, value: float, **told: object) -> None:
        """The value of round `number`; `told` goes into the row."""
        self.values.setdefault((metric, name), {})[number] = value
        self._told.setdefault((metric, name), {}).update(told)
        print(f"round {number + 1}, {name} {metric}: {value:.5g}", file=sys.stderr, flush=True)
        self.write()

    def rows(self) -> list[dict[str, object]]:
        """All figures so far."""
        made = []
        for (metric, name), values in self.values.items():
            reference = self.values.get((metric, "fp32"), {})
            faster = not metric.endswith("ms")
            ratios = [
                value / reference[number] if faster else reference[number] / value
                for number, value in values.items()
                if reference.get(number) and value
            ]
            row: dict[str, object] = {
                "metric": metric,
                "precision": name,
                "rounds": len(values),
                "value": f"{statistics.median(values.values()):.5g}",
                "over_fp32": "",
                "lowest": "",
                "highest": "",
                "batch_size": "",
                "build_s": "",
                "detections": "",
                "disturbance": "",
                "options": "",
            }
            if ratios:
                row["over_fp32"] = f"{statistics.median(ratios):.4f}"
                row["lowest"], row["highest"] = f"{min(ratios):.4f}", f"{max(ratios):.4f}"
            made.append({**self._about, **row, **self._told[metric, name]})
        return made

    def write(self) -> None:
        """Put rows of earlier runs and of this one into the file."""
        rows = self.rows()
        if self._path is None or not rows:
            return
        columns = dict.fromkeys(key for row in [*self._before, *rows] for key in row)
        with self._path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(columns), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows([*self._before, *rows])


def prepare(opened: Workbench, exceptions: Exceptions) -> dict[str, Path]:
    """The ONNX files, of one output each: fp32, and INT8 as the engine reads it.

    They are made once in a folder that is kept.
    """
    network = opened.network
    assert isinstance(network, DetectorNetwork)
    resolution = opened.space.resolutions[0]
    config = EngineConfig.make(opened.engine.name, 1)
    subnet = network.largest(resolution)
    in_float = opened.evaluator.networks.model(Candidate(subnet, Quantization(), config))
    form = engine_form(opened.engine.name)
    folder = opened.folder / "models"
    models = {"fp32": in_float, **{name: folder / f"{name}.onnx" for name in INT8_FILES}}
    calibration = opened.evaluator.arrays.get("calibration", resolution)
    made_of = content_key(network.sha256, form, INT8_FILES, exceptions.to_dict(), calibration.key)
    known = folder / "int8.key"
    if known.exists() and known.read_text() == made_of:
        return models
    images = calibration.open_inputs()

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH):
            yield np.array(images[start : start + BATCH])

    options = QuantizationOptions()
    quantized = quantize_on(network.detector, batches(), options, total=len(images))
    model = export_named(quantized.calibrated.network, (3, resolution, resolution), OUTPUT_NAMES)
    everything = quantized.encodings(Exceptions()).activations
    heads = Exceptions(higher_precision=tuple(n for n in everything if n.startswith(HEADS)))
    for name in INT8_FILES:
        chosen = (
            Exceptions()
            if "-all" in name or "-plain" in name
            else heads
            if "-backbone" in name
            else exceptions
        )
        encodings = quantized.encodings(chosen)
        fused = name.endswith("-fused")
        quantized_file = quantize_onnx(model, encodings, engine=form, fused_adds=fused)
        if "-backbone" in name or "-plain" in name:
            read_unrounded(quantized_file.graph)
        write_onnx(join_outputs(quantized_file), models[name])
        write_encodings(folder / f"{name}.encodings", encodings)
    known.write_text(made_of)
    return models


def read_unrounded(graph: onnx.GraphProto) -> None:
    """Let max pooling, whose output has a Q/DQ of its own, and convolutions with float weights read
    what comes before a Q/DQ; drop pairs that nothing reads then."""
    floats = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type == "MaxPool" or (node.op_type == "Conv" and node.input[1] in floats):
            node.input[0] = node.input[0].removesuffix("_dequantized")
    for operator in ("DequantizeLinear", "QuantizeLinear"):
        read = {name for node in graph.node for name in node.input}
        for node in [n for n in graph.node if n.op_type == operator and n.output[0] not in read]:
            graph.node.remove(node)


def build_all(bench: Bench, cases: list[Case], limit_s: float) -> None:
    """Build the cases in their order, `BUILDS` at once, until `limit_s` is over."""
    print(f"building {len(cases)} engine files", file=sys.stderr, flush=True)
    end = time.monotonic() + limit_s

    def one(case: Case) -> None:
        left = end - time.monotonic()
        if left > 1:
            bench.build(case, left)
        else:
            print(f"no time was left to build {case}", file=sys.stderr)

    with ThreadPoolExecutor(BUILDS) as pool:
        list(pool.map(one, cases))


def measure(bench: Bench, table: Table, names: list[str], fallback: list[str], rounds: int) -> None:
    """mAP of each, then rounds of both scenarios, and the engine's raw loop once."""
    ready = [name for name in names if Case(name, "Offline") in bench.files]
    for name in ready:
        accuracy(bench, table, name)
    found = {name: table.values.get(("test mAP", name), {}).get(0, 0.0) for name in ready}
    kept = KEPT * found.get("fp32", 0.0)
    good = [name for name in ready if name.startswith("int8") and found[name] >= kept]
    for name in fallback if not good else ():
        if Case(name, "Offline") in bench.files:
            accuracy(bench, table, name)
            ready.append(name)
    for number in range(rounds):
        for mode in ("PerformanceOnly", "RawLoop"):
            if mode == "RawLoop" and number:
                continue
            for scenario in METRICS:
                # Each precision comes first in some rounds.
                for name in ready[number % len(ready) :] + ready[: number % len(ready)]:
                    if time.monotonic() > bench.end:
                        print("the time is over", file=sys.stderr)
                        return
                    figure(bench, table, Case(name, scenario), mode, number)


def accuracy(bench: Bench, table: Table, name: str) -> None:
    """mAP of the test split by the Offline engine file."""
    case = Case(name, "Offline")
    try:
        measured = bench.run(case, "validation", "AccuracyOnly", f"{name}-accuracy")
    except AutosinianError as error:
        print(f"{name}: no mAP: {error}", file=sys.stderr)
        return
    size = bench.candidate(case).engine.batch_size
    told: dict[str, object] = {
        "batch_size": size,
        "detections": measured.versions.get("detections", ""),
    }
    told["build_s"] = f"{bench.build_s[case]:.1f}" if case in bench.build_s else ""
    table.add("test mAP", name, 0, 100 * (measured.accuracy or 0.0), **told)


def figure(bench: Bench, table: Table, case: Case, mode: str, number: int) -> None:
    """One run of one case; a failed or invalid one is told and gives no value."""
    if case not in bench.files:
        return
    try:
        measured = bench.run(case, "search", mode, f"{case.name}-{mode}-{number}")
    except AutosinianError as error:
        print(f"{case}: {error}", file=sys.stderr)
        return
    if not measured.valid:
        print(f"{case} is not valid: {measured.invalid_reason}", file=sys.stderr)
        return
    config = bench.candidate(case).engine
    told: dict[str, object] = {
        "batch_size": config.batch_size,
        "options": json.dumps(dict(config.options)),
        "disturbance": measured.disturbance,
        "build_s": f"{bench.build_s[case]:.1f}" if case in bench.build_s else "",
    }
    if mode == "RawLoop":
        own = measured.latency_ns.get("50.00", 0.0) / 1e6
        value = own if case.scenario == "SingleStream" else measured.samples_per_second
        table.add(RAW[case.scenario], case.name, number, value or 0.0, **told)
        return
    told["detections"] = measured.versions.get("detections", "")
    metric = METRICS[case.scenario]
    table.add(metric, case.name, number, scenario_metrics(measured)[metric], **told)


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """`given`, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ssd-engines-") as folder:
        yield Path(folder)


def main() -> int:
    """Measure, print a table to stdout, and write it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a detector.pt")
    parser.add_argument("data", type=Path, help="a VOC data set with splits train, val, test")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--worker-python", help="command line of the interpreter of the engine")
    parser.add_argument("--devices", help="GPUs by index")
    parser.add_argument("--exceptions", type=Path, help="JSON; default: none")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument(
        "--fallback", nargs="*", default=[], help="measured where int8 fails, e.g. int8-implicit"
    )
    parser.add_argument("--batch-size", type=int, default=4, help="of Offline")
    parser.add_argument("--options", default="{}", help="JSON: settings of the engine")
    parser.add_argument("--offline-options", default="{}", help="JSON: and of Offline alone")
    parser.add_argument("--calibration", type=int, default=205, help="images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--step", choices=("build", "all"), default="all")
    parser.add_argument("--work", type=Path, help="folder for models and engine files")
    parser.add_argument(
        "--time", type=float, default=600.0, help="seconds after which no run begins"
    )
    parser.add_argument("--build-time", type=float, default=600.0, help="seconds for the builds")
    parser.add_argument("--output", type=Path, help="add the rows to this CSV file")
    args = parser.parse_args()
    for name in (*args.precisions, *args.fallback):
        if name.removesuffix("-implicit") not in ("fp32", "fp16", "bf16", *INT8_FILES):
            parser.error(f"precisions are fp32, fp16, bf16, {', '.join(INT8_FILES)}, got {name}")
    end = time.monotonic() + args.time
    output = args.output.resolve() if args.output else None
    exceptions = read_exceptions(args.exceptions) if args.exceptions else Exceptions()
    text = SPACE.format(
        model=args.model.resolve(),
        data=args.data.resolve(),
        engine=args.engine,
        seconds=args.seconds,
        calibration=args.calibration,
    )
    work = args.work.resolve() if args.work else None
    with working_folder(work) as folder:
        os.chdir(folder)
        choice = WorkerChoice.parse(args.worker_python, args.devices)
        document = parse_document(text, "benchmark")
        opened = open_workbench(document, "benchmark", "sqlite:///benchmark.db", choice)
        models = prepare(opened, exceptions)
        offline = json.loads(args.offline_options)
        options = json.loads(args.options)
        bench = Bench(opened, models, args.batch_size, options, offline, end)
        names = [*args.precisions, *args.fallback]
        cases = [Case(name, scenario) for name in names for scenario in METRICS]
        build_all(bench, cases, min(args.build_time, max(1.0, end - time.monotonic())))
        if args.step == "build":
            return 0 if len(bench.files) == len(cases) else 1
        about: dict[str, object] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "engine": opened.engine.name,
            "device": opened.device,
            "cores": usable_cores(),
            "load_average": round(os.getloadavg()[0], 1),
            "versions": json.dumps(dict(opened.engine.versions())),
            "autosinian": __version__,
            "detector": args.model.stem,
            "calibration_images": args.calibration,
            "exceptions": len(exceptions.higher_precision),
        }
        table = Table(output, about)
        if bench.files:
            measure(bench, table, args.precisions, args.fallback, args.rounds)
    rows = table.rows()
    for row in rows:
        print(
            f"{row['metric']:<28} {row['precision']:<14} {row['value']:>9}  "
            f"{row['over_fp32']:>7} ({row['lowest']} to {row['highest']})"
        )
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
