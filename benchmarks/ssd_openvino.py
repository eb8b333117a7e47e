"""A detector in INT8 and in fp32 on OpenVINO: LoadGen's Offline and SingleStream, and COCO mAP.

    python benchmarks/ssd_openvino.py pretrained/bccd_ssd.pt bccd.tar --output RESULT.csv

INT8 is equalized and calibrated on the train split; mAP is of the test split, from the same engine
files. Runs of both precisions alternate, so that what else the machine does meets both; a ratio is
the median of its rounds' ratios. Responses are detections: suppression is part of what is timed.
"""

import argparse
import csv
import datetime
import os
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from autosinian.engine.processor import processor_name, usable_cores
from autosinian.evaluate.evaluation import scenario_metrics
from autosinian.search.workbench import open_workbench
from autosinian.space.candidate import Candidate, EngineConfig, Quantization
from autosinian.space.document import parse_document

SPACE = """
network: {{source: "{model}"}}
data: {{name: voc, path: "{data}"}}
engine: openvino
scenarios: [Offline, SingleStream]
objectives: [Offline.samples_per_second]
quantization: {{precision: [fp32, int8]}}
measurement: {{min_duration_s: {seconds}, calibration_samples: {calibration}}}
"""
METRICS = ("Offline.samples_per_second", "SingleStream.latency_ms")


def main() -> int:
    """Measure, print a table to stdout, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a detector.pt")
    parser.add_argument("data", type=Path, help="a VOC data set with splits train, val, test")
    parser.add_argument("--batch-size", type=int, default=4, help="of Offline")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--calibration", type=int, default=64, help="images")
    parser.add_argument(
        "--time", type=float, default=600.0, help="seconds after which no round begins"
    )
    parser.add_argument("--output", type=Path, help="append the rows to this CSV file")
    args = parser.parse_args()
    model, data = args.model.resolve(), args.data.resolve()
    output = args.output.resolve() if args.output else None
    start = time.monotonic()
    text = SPACE.format(model=model, data=data, seconds=args.seconds, calibration=args.calibration)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rows = measure(text, args.batch_size, args.rounds, start + args.time)
    for row in rows:
        row |= {"detector": args.model.stem, "calibration_images": args.calibration}
    if output is not None:
        new = not output.exists()
        with output.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)
    for row in rows:
        print(
            f"{row['metric']:<28} fp32 {row['fp32']:>9}  int8 {row['int8']:>9}  "
            f"{row['ratio']:>6}x ({row['lowest_ratio']} to {row['highest_ratio']})"
        )
    return 0


def measure(text: str, batch_size: int, rounds: int, end: float) -> list[dict[str, object]]:
    """One row for mAP and one for each scenario."""
    bench = open_workbench(parse_document(text, "benchmark"), "benchmark", "sqlite:///benchmark.db")
    evaluator, resolution = bench.evaluator, bench.space.resolutions[0]
    quantizations = {
        "fp32": Quantization("fp32"),
        "int8": Quantization("int8", "minmax", (("equalize", True),)),
    }
    sizes = {"Offline": batch_size, "SingleStream": 1}
    candidates, files = {}, {}
    for precision, quantization in quantizations.items():
        for scenario, size in sizes.items():
            options = {tunable.name: tunable.default for tunable in bench.engine.tunables()}
            config = EngineConfig.make("openvino", size, **options)
            candidate = Candidate(bench.network.largest(resolution), quantization, config)
            candidates[precision, scenario] = candidate
            print(f"building {precision}, batch {size}", file=sys.stderr, flush=True)
            files[precision, scenario] = evaluator.build(
                candidate, evaluator.networks.model(candidate)
            )
    accuracy = {}
    for precision in quantizations:
        key = (precision, "Offline")
        accuracy[precision], _ = evaluator.accuracy(
            candidates[key], files[key], "validation", f"{precision}-accuracy"
        )
    values: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        if time.monotonic() > end and number >= 1:
            break
        for scenario, metric in zip(sizes, METRICS, strict=True):
            # Either precision comes first in half of the rounds.
            for precision in sorted(quantizations, reverse=bool(number % 2)):
                key = (precision, scenario)
                measured = evaluator.performance(
                    candidates[key], files[key], scenario, f"{precision}-{number}"
                )
                value = scenario_metrics(measured)[metric]
                values.setdefault((precision, metric), []).append(value)
                print(f"round {number + 1}, {precision} {metric}: {value:.4g}", file=sys.stderr)
    bench.workers.close()
    about: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "device": processor_name(),
        "cores": usable_cores(),
        "load_average": round(os.getloadavg()[0], 1),
        "openvino": version("openvino"),
        "onnxruntime": version("onnxruntime"),
        "batch_size": batch_size,
    }
    share = accuracy["int8"] / accuracy["fp32"]
    rows = [
        about
        | {
            "metric": "test mAP",
            "rounds": 1,
            "fp32": round(100 * accuracy["fp32"], 3),
            "int8": round(100 * accuracy["int8"], 3),
            **_ratios([share]),
        }
    ]
    for metric in METRICS:
        floats, integers = values["fp32", metric], values["int8", metric]
        faster = [
            (b / a if metric.endswith("per_second") else a / b)
            for a, b in zip(floats, integers, strict=True)
        ]
        rows.append(
            about
            | {
                "metric": metric,
                "rounds": len(faster),
                "fp32": round(statistics.median(floats), 3),
                "int8": round(statistics.median(integers), 3),
                **_ratios(faster),
            }
        )
    return rows


def _ratios(ratios: list[float]) -> dict[str, object]:
    return {
        "ratio": round(statistics.median(ratios), 4),
        "lowest_ratio": round(min(ratios), 4),
        "highest_ratio": round(max(ratios), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
