"""Two GPUs, or more, beside one: LoadGen's Offline and Server rates in one run.

    python benchmarks/gpu_serving.py prepare WORK --networks resnet50
    python benchmarks/several_devices.py WORK --engine tensorrt --devices 0 1 \\
        --output benchmarks/results/several_devices.csv

One engine file in the `devices` of a job: a process for each serves one LoadGen run. Offline is
measured on the first device and on all, in turn; then the best Server rate on each.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autosinian.measure.measurement import Measurement
from autosinian.measure.server import find_server_qps
from gpu_serving import (
    MEMORY_LIMIT,
    SERVER_LATENCY_MS,
    TIME_LIMIT_S,
    Bench,
    Case,
    Row,
    about,
    add_bench_arguments,
    open_bench,
    write_rows,
)


@dataclass(frozen=True)
class Comparison:
    """What is run on the first device and on all."""

    bench: Bench
    streams: int
    seconds: float
    rounds: int

    def offline(self, case: Case) -> Iterator[Row]:
        """Each round's rates, and the median of their ratios."""
        several, one = self.bench.devices, self.bench.devices[:1]
        pairs = []
        for number in range(self.rounds):
            order = (one, several) if number % 2 == 0 else (several, one)
            rates = {devices: self._offline(case, devices) for devices in order}
            pairs.append((rates[one], rates[several]))
            print(f"Offline, round {number + 1}: {pairs[-1]}", file=sys.stderr, flush=True)
        for devices, column in ((one, 0), (several, 1)):
            rate = statistics.median(pair[column] for pair in pairs)
            ratio = statistics.median(pair[column] / pair[0] for pair in pairs)
            yield self._row(case, devices, "Offline samples/s", rate, ratio)

    def server(self, case: Case, offline: dict[tuple[int, ...], float]) -> Iterator[Row]:
        """The best Server rate on each, over the same devices' Offline rate."""
        for devices, rate in offline.items():
            job = self.bench.job(
                case, "Server", "PerformanceOnly", self.seconds, streams=self.streams
            )
            found = find_server_qps(
                replace(job, devices=devices),
                1.05 * rate,
                0.8 * rate,
                time_limit_s=TIME_LIMIT_S,
                memory_limit_bytes=MEMORY_LIMIT,
                python=self.bench.python,
                tolerance=0.03,
                max_probes=6,
            )
            qps = (found.target_qps or 0.0) if found.valid else 0.0
            figure = f"Server queries/s at p99 <= {SERVER_LATENCY_MS:g} ms"
            yield self._row(case, devices, figure, qps, qps / rate, found)

    def _offline(self, case: Case, devices: tuple[int, ...]) -> float:
        job = self.bench.job(case, "Offline", "PerformanceOnly", self.seconds, streams=self.streams)
        return self.bench.rate(replace(job, devices=devices))

    def _row(
        self,
        case: Case,
        devices: tuple[int, ...],
        figure: str,
        value: float,
        ratio: float,
        found: Measurement | None = None,
    ) -> Row:
        return {
            "case": str(case),
            "devices": " ".join(map(str, devices)),
            "streams_a_device": self.streams,
            "sut": found.versions.get("sut", "") if found else "",
            "figure": figure,
            "value": f"{value:.5g}",
            "ratio": f"{ratio:.3f}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_bench_arguments(parser, engine="tensorrt", devices=[0, 1], rounds=3)
    parser.add_argument("--offline", default="resnet50:int8:1024", help="network:precision:batch")
    parser.add_argument("--server", default="resnet50:int8:160", help="network:precision:batch")
    parser.add_argument("--streams", type=int, default=2)
    arguments = parser.parse_args()
    bench = open_bench(arguments)
    devices, common = bench.devices, about(bench)
    offline, server = Case.parse(arguments.offline), Case.parse(arguments.server)
    for case in (offline, server):
        replace(bench, devices=devices[:1]).build(case)
    comparison = Comparison(bench, arguments.streams, arguments.seconds, arguments.rounds)
    rows: list[Row] = []

    def keep(row: Row) -> None:
        rows.append(common | row)
        print(*list(row.values()), flush=True)
        write_rows(arguments.output, rows)

    for row in comparison.offline(offline):
        keep(row)
    rates = dict(zip((devices[:1], devices), (float(row["value"]) for row in rows), strict=True))
    for row in comparison.server(server, rates):
        keep(row)


if __name__ == "__main__":
    main()
