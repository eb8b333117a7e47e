"""LoadGen Offline over the engine's own raw loop: same engine file, batch size and streams.

    python benchmarks/loadgen_over_raw.py --output benchmarks/results/loadgen_over_raw.csv

The raw loop submits ready contiguous batches to the same session; LoadGen's run gathers each batch
by the random sample indices it is given and answers every query. The two alternate, each in a
fresh worker process, and the ratio is that of their medians. Networks are the largest subnets of
ProxylessNAS supernets with random weights: speed does not depend on their values.
"""

import argparse
import csv
import datetime
import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets

from autosinian.engine.processor import processor_name, usable_cores
from autosinian.measure.measurement import BuildJob, Job
from autosinian.measure.process import build, run
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.export import export_onnx
from autosinian.quantize.qdq import quantize

SAMPLES = 1024
TIME_LIMIT_S = 300.0
MEMORY_LIMIT = 4 << 30


@dataclass(frozen=True)
class Case:
    """One network and how it is served."""

    width: float
    resolution: int
    precision: str
    batch_size: int
    streams: int


CASES = (
    Case(0.35, 32, "fp32", 1, 2),
    Case(0.35, 32, "fp32", 8, 2),
    Case(0.35, 32, "int8", 8, 2),
    Case(0.35, 32, "int8", 64, 2),
    Case(0.5, 48, "fp32", 1, 2),
    Case(0.5, 48, "fp32", 8, 2),
    Case(0.5, 48, "int8", 1, 2),
    Case(0.5, 48, "int8", 32, 2),
    Case(0.5, 48, "int8", 32, 1),
    Case(1.0, 96, "int8", 1, 1),
    Case(1.0, 96, "int8", 16, 2),
    Case(1.0, 96, "fp32", 16, 2),
)


def write_models(folder: Path, width: float, resolution: int) -> None:
    """`fp32.onnx`, `int8.onnx` and `inputs.npy` of one network."""
    folder.mkdir()
    torch.manual_seed(0)
    supernet = OFAProxylessNASNets(
        n_classes=10,
        dropout_rate=0,
        width_mult=width,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    )
    supernet.set_active_subnet(ks=7, e=6, d=4)
    shape = (SAMPLES, 3, resolution, resolution)
    inputs = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.save(folder / "inputs.npy", inputs)
    export_onnx(supernet.get_active_subnet().eval(), resolution, folder / "fp32.onnx")
    ranges = collect_ranges(folder / "fp32.onnx", inputs[:8], "minmax")
    quantize(folder / "fp32.onnx", ranges, folder / "int8.onnx")


def measure(case: Case, models: Path, work: Path, seconds: float, rounds: int) -> dict[str, float]:
    """Medians of both, samples/s, their ratio and the spread of the ratio over rounds."""
    engine = {
        "engine": "openvino",
        "batch_size": case.batch_size,
        "options": {"streams": min(case.streams, usable_cores()), "threads": usable_cores()},
    }
    engine_file = str(work / "model.engine")
    onnx_file = str(models / f"{case.precision}.onnx")
    build(
        BuildJob(engine, onnx_file, case.precision, engine_file, str(work / "build")),
        time_limit_s=TIME_LIMIT_S,
        memory_limit_bytes=MEMORY_LIMIT,
    )
    rates: dict[str, list[float]] = {"RawLoop": [], "PerformanceOnly": []}
    for number in range(rounds):
        order = list(rates) if number % 2 == 0 else list(reversed(rates))
        for mode in order:
            settings: dict[str, int | float | bool] = {"min_duration_ms": int(1000 * seconds)}
            if mode != "RawLoop":
                settings["min_query_count"] = 1
            job = Job(
                engine=engine,
                engine_file=engine_file,
                inputs=str(models / "inputs.npy"),
                labels=None,
                scenario="Offline",
                mode=mode,
                output_folder=str(work / mode),
                settings=settings,
            )
            measurement = run(job, time_limit_s=TIME_LIMIT_S, memory_limit_bytes=MEMORY_LIMIT)
            if not measurement.valid or measurement.samples_per_second is None:
                raise SystemExit(f"{case} is not valid: {measurement.invalid_reason}")
            rates[mode].append(measurement.samples_per_second)
    raw, loadgen = (statistics.median(rates[mode]) for mode in ("RawLoop", "PerformanceOnly"))
    pairs = [b / a for a, b in zip(rates["RawLoop"], rates["PerformanceOnly"], strict=True)]
    return {
        "raw_samples_per_second": round(raw, 1),
        "loadgen_samples_per_second": round(loadgen, 1),
        "ratio": round(loadgen / raw, 3),
        "lowest_pair": round(min(pairs), 3),
        "highest_pair": round(max(pairs), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind and case")
    parser.add_argument("--cases", type=int, nargs="*", help="numbers of the cases, from 0")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, case in enumerate(CASES):
            if arguments.cases and number not in arguments.cases:
                continue
            models = folder / f"{case.width}_{case.resolution}"
            if not models.exists():
                write_models(models, case.width, case.resolution)
            work = folder / str(number)
            result = measure(case, models, work, arguments.seconds, arguments.rounds)
            row = {
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "device": processor_name(),
                "cores": usable_cores(),
                "load_average": round(os.getloadavg()[0], 1),
                **case.__dict__,
                "rounds": arguments.rounds,
                **result,
            }
            rows.append(row)
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    print(f"median ratio {statistics.median(row['ratio'] for row in rows):.3f}")
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
