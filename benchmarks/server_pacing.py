"""What it gives that a partial Server batch waits until the one before has had its time.

    python benchmarks/gpu_serving.py prepare WORK --networks resnet50
    python benchmarks/server_pacing.py WORK --output benchmarks/results/server_pacing.csv

ResNet-50 in INT8 on two streams with two batches in flight. Batches that leave together end
together, and a query that has just missed them waits for both of them and for its own two: four
batches. Where they leave one after another it waits for three. Latencies are measured at shares of
the engine's own rate, with and without pacing, in turn.
"""

import argparse
import json
import sys
from dataclasses import replace

from gpu_serving import Case, about, add_bench_arguments, open_bench, write_rows

SHARES = (0.4, 0.6, 0.8)
"""Query rates, as shares of the engine's own loop over full batches."""

LONG_NS = 10**12
STREAMS = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_bench_arguments(parser, engine="openvino", devices=[], rounds=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    arguments = parser.parse_args()
    bench = open_bench(arguments)
    case = Case("resnet50", "int8", arguments.batch_size)
    bench.build(case)
    raw = bench.rate(bench.job(case, "Offline", "RawLoop", arguments.seconds, streams=STREAMS))
    common = about(bench) | {
        "batch_size": case.batch_size,
        "options": json.dumps(bench.build_options | {"streams": STREAMS}),
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
                print(*list(rows[-1].values())[6:], file=sys.stderr, flush=True)
                write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
