"""What an Offline run of ten million samples takes in the worker.

    python benchmarks/run_memory.py --output benchmarks/results/run_memory.csv

The engine answers at once, so that the memory is LoadGen's and ours. At most 4 GiB are aimed at.
"""

import argparse
import csv
import datetime
import os
import tempfile
from pathlib import Path

import numpy as np

from autosinian.engine.processor import processor_name, usable_cores
from autosinian.measure.measurement import Job
from autosinian.measure.process import run

AT_MOST = 4 << 30
ENGINE = "tests.measure.worker_engines:IdleEngine"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000_000, 10_000_000])
    arguments = parser.parse_args()
    # The engine is that of the tests.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    rows = []
    for samples in arguments.samples:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            np.save(folder / "inputs.npy", np.zeros((1024, 1, 1, 1), np.float32))
            job = Job(
                engine={"engine": ENGINE, "batch_size": 4096, "options": {}},
                engine_file=str(folder / "inputs.npy"),
                inputs=str(folder / "inputs.npy"),
                labels=None,
                scenario="Offline",
                mode="PerformanceOnly",
                output_folder=str(folder / "logs"),
                settings={
                    "min_duration_ms": 1,
                    "min_query_count": samples,
                    "offline_expected_qps": 1.0,
                },
            )
            measured = run(job, time_limit_s=600.0, memory_limit_bytes=4 * AT_MOST)
        peak = measured.peak_memory_bytes
        row = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": processor_name(),
            "cores": usable_cores(),
            "mlcommons-loadgen": measured.versions["mlcommons-loadgen"],
            "samples": measured.samples,
            "valid": measured.valid,
            "loadgen_s": round(measured.loadgen_s, 1),
            "peak_memory_gib": round(peak / 2**30, 2),
            "at_most_gib": AT_MOST >> 30,
            "is": "reached" if peak <= AT_MOST else "missed",
        }
        rows.append(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
