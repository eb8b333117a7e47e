"""How many Server batches to submit at once where the latency bound is a few batches long.

    python benchmarks/gpu_serving.py prepare WORK --networks resnet50
    python benchmarks/server_in_flight.py WORK --output benchmarks/results/server_in_flight.csv

One stream of ResNet-50 in INT8. With two batches in flight a query may wait for three, its own
included, with one for two. The best Server rate is sought under bounds between these, with the
number that the latency bound chooses (`in_flight` 0) and with two, in turn.
"""

import argparse
import sys
from dataclasses import replace

from autosinian.measure.loadgen_run import IN_FLIGHT
from autosinian.measure.server import find_server_qps
from gpu_serving import (
    MEMORY_LIMIT,
    TIME_LIMIT_S,
    Case,
    about,
    add_bench_arguments,
    open_bench,
    write_rows,
)

BOUNDS = (2.7, 3.3, 4.5)
"""Latency bounds, in batches."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_bench_arguments(parser, engine="openvino", devices=[], rounds=2)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    bench = open_bench(arguments)
    case = Case("resnet50", "int8", arguments.batch_size)
    bench.build(case)
    raw = bench.rate(bench.job(case, "Offline", "RawLoop", arguments.seconds, streams=1))
    common = about(bench) | {
        "batch_size": case.batch_size,
        "raw_samples_per_second": round(raw, 1),
    }
    rows = []
    for bound in BOUNDS:
        bound_ns = round(bound * case.batch_size / raw * 1e9)
        for number in range(arguments.rounds):
            for wanted in (0, 2):
                job = bench.job(case, "Server", "PerformanceOnly", arguments.seconds, streams=1)
                settings = job.settings | {"server_target_latency_ns": bound_ns}
                found = find_server_qps(
                    replace(job, settings=settings, sut={"in_flight": wanted}),
                    1.05 * raw,
                    0.7 * raw,
                    time_limit_s=TIME_LIMIT_S,
                    memory_limit_bytes=MEMORY_LIMIT,
                    python=bench.python,
                    tolerance=0.05,
                    max_probes=5,
                )
                rate = (found.target_qps or 0.0) if found.valid else 0.0
                rows.append(
                    common
                    | {
                        "bound_batches": bound,
                        "round": number + 1,
                        "in_flight": wanted or "",
                        "submitted": found.machine.get(IN_FLIGHT),
                        "queries_per_second": round(rate, 1),
                        "over_raw": round(rate / raw, 3),
                    }
                )
                print(*list(rows[-1].values())[5:], file=sys.stderr, flush=True)
                write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
