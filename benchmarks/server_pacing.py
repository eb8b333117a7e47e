"""What it gives that a partial Server batch waits until the one before has had its time.

    python benchmarks/gpu_serving.py prepare WORK --networks resnet50
    python benchmarks/server_pacing.py WORK --output benchmarks/results/server_pacing.csv

ResNet-50 in INT8 on two streams with two batches in flight. Batches that leave together end
together, and a query that has just missed them waits for both of them and for its own two: four
batches. Where they leave one after another it waits for three. Latencies are measured at shares of
the engine's own rate, with and without pacing, in turn.
"""

import argparse
import csv
import datetime
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from autosinian.measure.workers import open_engine
from gpu_serving import Bench, Case

SHARES = (0.4, 0.6, 0.8)
"""Query rates, as shares of the engine's own loop over full batches."""

LONG_NS = 10**12
STREAMS = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="what `gpu_serving.py prepare` made")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--python", help="command line of the worker's interpreter")
    parser.add_argument("--devices", type=int, nargs="*", default=[])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument("--options", default="{}", help="JSON: settings of the engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    devices = tuple(arguments.devices)
    python = tuple(shlex.split(arguments.python)) if arguments.python else None
    engine = open_engine(arguments.engine, python or (), devices)
    options = json.loads(arguments.options)
    bench = Bench(arguments.work.absolute(), engine, python, devices, options)
    case = Case("resnet50", "int8", arguments.batch_size)
    bench.build(case)
    raw = bench.rate(bench.job(case, "Offline", "RawLoop", arguments.seconds, streams=STREAMS))
    common = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": engine.device(),
        "versions": json.dumps(dict(engine.versions())),
        "batch_size": case.batch_size,
        "options": json.dumps(options | {"streams": STREAMS}),
        "raw_samples_per_second": round(raw, 1),
    }
    batch_ms = 1e3 * case.batch_size / raw
    rows = []
    for share in arguments.shares:
        for number in range(arguments.rounds):
            for pacing in (True, False) if number % 2 == 0 else (False, True):
                job = bench.job(
                    case, "Server", "PerformanceOnly", arguments.seconds, streams=STREAMS
                )
                rate = {"server_target_qps": share * raw, "server_target_latency_ns": LONG_NS}
                found = bench.run(
                    replace(
                        job,
                        settings=job.settings | rate,
                        sut={"in_flight": 2, "pacing": pacing},
                    )
                )
                latency = {
                    f"p{name}_batches": round(found.latency_ns[f"{name}.00"] / 1e6 / batch_ms, 2)
                    for name in (50, 90, 99)
                }
                rows.append(
                    common
                    | {
                        "batch_ms": round(batch_ms, 2),
                        "share": share,
                        "round": number + 1,
                        "pacing": pacing,
                        "sut": found.versions.get("sut", ""),
                    }
                    | latency
                )
                print(*list(rows[-1].values())[5:], file=sys.stderr, flush=True)
                if arguments.output:  # after each row: a run that is cut off keeps what it has
                    with arguments.output.open("w", newline="") as stream:
                        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
                        writer.writeheader()
                        writer.writerows(rows)


if __name__ == "__main__":
    main()
