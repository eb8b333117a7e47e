"""What an exported best gains over its baseline, as `export-best` measured both, interleaved.

    scripts/quickstart
    python benchmarks/exported_gain.py studies/fashion_mnist/best \
        --output benchmarks/results/exported_gain.csv

The figures are those of the bundle's `result.json`; rows are added to the file.
"""

import argparse
import csv
import json
from pathlib import Path


def row(bundle: Path) -> dict[str, object]:
    """One bundle's figures beside its baseline's."""
    result = json.loads((bundle / "result.json").read_text(encoding="utf-8"))
    engine = result["candidate"]["engine"]
    intervals = result["intervals"]["Offline.samples_per_second"]
    return {
        "date": result["exported"][:10],
        "device": result["device"],
        "cores": result["machine"]["cores"],
        "autosinian": result["versions"]["autosinian"],
        "openvino": result["versions"]["openvino"],
        "study": result["study"],
        "trial": result["trial"],
        "batch_size": engine["batch_size"],
        "streams": engine["options"]["streams"],
        "precision": result["candidate"]["quantization"]["precision"],
        "resolution": result["candidate"]["subnet"]["resolution"],
        "macs": result["macs"],
        "samples_per_second": round(result["samples_per_second"], 1),
        "low_95": round(intervals["low"], 1),
        "high_95": round(intervals["high"], 1),
        "baseline_samples_per_second": round(result["baseline_samples_per_second"], 1),
        "ratio": round(result["samples_per_second"] / result["baseline_samples_per_second"], 2),
        "accuracy": result["accuracy"],
        "baseline_accuracy": result["baseline_accuracy"],
        "points": round(100 * (result["accuracy"] - result["baseline_accuracy"]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--output", type=Path, help="CSV file to add to")
    arguments = parser.parse_args()
    rows = [row(bundle) for bundle in arguments.bundles]
    for figures in rows:
        print(" ".join(f"{key}={value}" for key, value in figures.items()))
    if arguments.output:
        new = not arguments.output.exists()
        with arguments.output.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
