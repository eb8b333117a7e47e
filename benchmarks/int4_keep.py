"""Keep what a run of `int4_resnet50.py` measured: into the tables of results and the package's.

    python benchmarks/int4_keep.py DIR --step "what changed since the run before"

DIR is that run's `--output`. Its rows get the next run's number in `int4_layers.csv` (times that
were known before are not repeated), `int4_network.csv`, `int4_profile.csv`, `int4_single.csv` and
`int4_overlapping.csv`; `known_kernels.csv` takes the place of the package's, and
`autoconfig_<batch>` of a GPU's goes beside the tables. A second time is refused.
"""

import argparse
import csv
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from autosinian.int4.known_kernels import KNOWN

RESULTS = Path(__file__).parent / "results"
KEY = ("shape", "out_bits", "batch", "id", "device", "driver", "torch", "triton")

Row = dict[str, str]


def main() -> None:
    """Append and copy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--step", required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--known", type=Path, default=KNOWN)
    arguments = parser.parse_args()
    folder, results = arguments.folder, arguments.results

    network = read(results / "int4_network.csv")
    if any(row["step"].startswith(f"{arguments.step};") for row in network):
        raise SystemExit(f"`{arguments.step}` is kept already")
    run = str(1 + max((int(row["run"]) for row in network), default=0))
    for row in read(folder / "network.csv"):
        rate, rule = row.pop("tuned_images_per_second"), row.pop("default_images_per_second")
        step = f"{arguments.step}; tuned at {row.pop('tuned_at')}"
        del row["tuned_milliseconds"]
        network.append({**row, "run": run, "step": step, "images_per_second": rate})
        step = f"{arguments.step}; not tuned"
        network.append({**row, "run": run, "step": step, "images_per_second": rule})
    add(results / "int4_network.csv", network)

    layers = read(results / "int4_layers.csv")
    kept = {key(row) for row in layers if is_launch(row)}
    for path in sorted(folder.glob("layers_*.csv")):
        fresh = (row for row in read(path) if key(row) not in kept)
        layers += [{**row, "run": run} for row in fresh]
    add(results / "int4_layers.csv", layers)

    for name, pattern in (
        ("int4_profile.csv", "profile_*.csv"),
        ("int4_single.csv", "single_*.csv"),
        ("int4_overlapping.csv", "overlapping.csv"),
    ):
        rows = read(results / name)
        for path in sorted(folder.glob(pattern)):
            rows += [{"run": run, **row} for row in read(path)]
        add(results / name, rows)
    if (folder / "known_kernels.csv").exists():
        shutil.copyfile(folder / "known_kernels.csv", arguments.known)
    for path in folder.glob("autoconfig_*"):
        gpu = re.sub(r"[^a-z0-9]+", "_", network[-1]["device"].lower()).split("_")[1]
        batch = path.name.rpartition("_")[2]
        shutil.copyfile(path, results / f"int4_autoconfig_{gpu}_b{batch}")
    print(f"run {run} is kept in `{results}`")


def key(row: Row) -> tuple[str, ...]:
    """What a time is of."""
    return tuple(row[name] for name in KEY)


def is_launch(row: Row) -> bool:
    """Whether a row has the time of a launch, not one less another's."""
    return bool(row.get("launch_microseconds")) or row.get("chained") != "True"


def read(path: Path) -> list[Row]:
    """Rows of a CSV; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def add(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` with the columns of the first, and what later ones have beyond."""
    rows = list(rows)
    if not rows:
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
