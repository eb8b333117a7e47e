"""A bundle's runs at MLPerf's official length, kept with LoadGen's logs as an example.

    python benchmarks/official_length.py studies/fashion_mnist/best --output docs/example

Offline and SingleStream take ten minutes each and a moment for the accuracy; leave the machine
alone meanwhile. Without `--seconds` nothing of LoadGen's own mlperf.conf is changed. Every run is
`autosinian run` with the same arguments; FOLDER gets README.md, results.csv and, in
<Scenario>/performance and <Scenario>/accuracy, what LoadGen wrote.
"""

import argparse
import csv
import datetime
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autosinian.content import file_sha256
from autosinian.engine.processor import usable_cores
from autosinian.measure.logs import find_log
from autosinian.measure.measurement import SCENARIOS
from autosinian.mlperf.harness import RunRequest, run
from autosinian.mlperf.request import Request
from autosinian.mlperf.run_report import Report
from autosinian.mlperf.source import Source, open_source

KEPT = ("mlperf_log_summary.txt", "mlperf_log_detail.txt")
"""The accuracy log is as long as the data set: its count and hash are kept."""


def measure(source: Source, scenario: str, seconds: float | None, build: Path) -> list[Report]:
    """A performance run, then an accuracy run of the same engine file."""
    settings: dict[str, int | float | bool] = {}
    if seconds is not None:
        settings = {"min_duration_ms": round(1000 * seconds)}
        if scenario == "Offline":
            settings["min_query_count"] = 1
    asked = RunRequest(Request(scenario, build=build), "PerformanceOnly", settings=settings)
    reports = []
    for mode in ("PerformanceOnly", "AccuracyOnly"):
        (report,) = run(source, replace(asked, mode=mode), tell)
        reports.append(report)
    return reports


def keep(report: Report, folder: Path) -> None:
    """Copy what LoadGen wrote, and write what was counted."""
    folder.mkdir(parents=True)
    for name in KEPT:
        shutil.copyfile(report.logs / name, folder / name)
    accuracy = find_log(report.logs, "accuracy")
    if report.measurement.accuracy is not None and accuracy is not None:
        counted = next(line for line in report.lines() if line.startswith("accuracy="))
        (folder / "accuracy.txt").write_text(f"{counted}\nhash={file_sha256(accuracy)}\n")


def row(report: Report) -> dict[str, Any]:
    """One line of results.csv."""
    measured, figure = report.measurement, report.summary.figure
    early = report.summary.early_stopping
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": report.serving.engine.device(),
        "cores": usable_cores(),
        "load_average": round(os.getloadavg()[0], 1),
        **{
            name: measured.versions[name]
            for name in ("mlcommons-loadgen", "openvino")
            if name in measured.versions
        },
        "scenario": report.serving.scenario,
        "mode": report.mode,
        "precision": report.serving.precision,
        "batch_size": report.serving.config.batch_size,
        "result": report.summary.result,
        "figure": figure.name if figure else "",
        "value": figure.text if figure else "",
        "early_stopping_estimate_ns": early.text if early else "",
        "accuracy": "" if measured.accuracy is None else measured.accuracy,
        "samples": measured.samples,
        "loadgen_s": round(measured.loadgen_s, 1),
        "peak_memory_mib": round(measured.peak_memory_bytes / 2**20),
    }


def write(folder: Path, source: Source, rows: Sequence[dict[str, Any]], length: str) -> None:
    """README.md and results.csv."""
    with (folder / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    first = rows[0]
    lines = [
        f"# Runs of `{source.folder.name}` at {length}",
        "",
        f"{first['device']}, {first['cores']} cores, {first['date']}, by "
        "`benchmarks/official_length.py`: `autosinian run`, first `--test-mode PerformanceOnly`, "
        "then `--test-mode AccuracyOnly`. The folders hold what LoadGen wrote.",
        "",
        "| scenario | LoadGen's figure | early stopping estimate | result | accuracy | samples | "
        "LoadGen ran | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for timed, scored in zip(rows[::2], rows[1::2], strict=True):
        early = timed["early_stopping_estimate_ns"]
        lines.append(
            f"| {timed['scenario']} | {timed['figure']}: {timed['value']} | "
            f"{early + ' ns' if early else '-'} | {timed['result']} | "
            f"{100 * scored['accuracy']:.2f} % | {timed['samples']:,} | {timed['loadgen_s']} s | "
            f"{timed['peak_memory_mib']} MiB |"
        )
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="a folder made by export-best")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--scenarios", nargs="+", choices=SCENARIOS, default=["Offline", "SingleStream"]
    )
    parser.add_argument(
        "--seconds", type=float, help="a shorter length, to try the script (default: official)"
    )
    parser.add_argument("--build-dir", type=Path, default=Path("build"))
    arguments = parser.parse_args()
    if arguments.output.exists():
        parser.error(f"{arguments.output} must not exist yet")
    source = open_source(arguments.bundle)
    rows = []
    for scenario in arguments.scenarios:
        reports = measure(source, scenario, arguments.seconds, arguments.build_dir)
        for report, name in zip(reports, ("performance", "accuracy"), strict=True):
            keep(report, arguments.output / scenario / name)
            rows.append(row(report))
            print("\n".join(report.lines()), flush=True)
    official = "official length (600 s and what else LoadGen's mlperf.conf asks for)"
    length = official if arguments.seconds is None else f"{arguments.seconds:g} s"
    write(arguments.output, source, rows, length)
    if not all(row["result"] == "VALID" for row in rows[::2]):
        raise SystemExit("LoadGen says INVALID: see README.md")


if __name__ == "__main__":
    main()
