"""What a search costs beside inference: start, time of each trial, memory; and `--help`.

    python benchmarks/overhead.py --trials 12 --output benchmarks/results/overhead.csv

The search runs as a user runs it, in a process of its own and in an empty folder, so that its
arrays are prepared too. Memory is resident memory of the search and all its workers, added up and
sampled: pages that they share count twice, so the figure is an upper bound.
"""

import argparse
import csv
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from autosinian.engine.processor import processor_name, usable_cores
from autosinian.search.outcome import Outcome, read_outcome
from autosinian.search.storage import load_study

REPOSITORY = Path(__file__).resolve().parents[1]
SPACE = REPOSITORY / "search_spaces" / "fashion_mnist.yaml"
STUDY = "overhead"
SAMPLE_EVERY_S = 0.1
TARGETS = {
    "help_median_s": 0.5,
    "first_measurement_s": 10.0,
    "trial_overhead_median_s": 5.0,
    "peak_memory_gib": 2.0,
}
"""The figures to reach, all of them upper bounds."""


@dataclass(frozen=True)
class Watched:
    """What was seen of a search from outside."""

    first_measurement_s: float
    peak_memory_bytes: int
    wall_s: float


def help_seconds(repeats: int = 5) -> list[float]:
    """Wall seconds of `autosinian --help`, each in a fresh process."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "autosinian", "--help"], stdout=subprocess.DEVNULL, check=True
        )
        found.append(time.perf_counter() - start)
    return found


def watch_search(space: Path, trials: int, folder: Path) -> Watched:
    """Run a search in `folder`; its first measurement is its first LoadGen run's start."""
    command = [sys.executable, "-m", "autosinian", "search", str(space), "--study", STUDY, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--trials", str(trials)], cwd=folder, stdout=subprocess.DEVNULL
    )
    first, peak = 0.0, 0
    runs = folder / "studies" / STUDY / "runs"
    while process.poll() is None:
        if not first and any(runs.glob("trial-*/**/run_job.json")):
            first = time.perf_counter() - start
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(SAMPLE_EVERY_S)
    if process.returncode != 0:
        raise SystemExit(f"the search ended with exit code {process.returncode}")
    return Watched(first, peak, time.perf_counter() - start)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants."""
    total = 0
    try:
        search = psutil.Process(pid)
        for process in [search, *search.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def read_study(folder: Path) -> Outcome:
    """The study that the search left."""
    return read_outcome(load_study(STUDY, f"sqlite:///{folder}/studies/{STUDY}.db"))


def figures(outcome: Outcome, watched: Watched, helps: list[float]) -> dict[str, float]:
    """All figures by name; seconds and GiB."""
    evaluations = [r.evaluation for r in outcome.records if r.evaluation is not None]
    overheads = [e.overhead_s for e in evaluations]
    # The search's own work around the stages: proposing, recording, notes for the dashboard.
    around = [
        r.duration_s - sum(r.evaluation.stage_s.values())
        for r in outcome.records
        if r.evaluation is not None
    ]
    found = {
        "help_median_s": statistics.median(helps),
        "first_measurement_s": watched.first_measurement_s,
        "trial_overhead_median_s": statistics.median(overheads),
        "trial_overhead_max_s": max(overheads),
        "trial_around_stages_median_s": statistics.median(around),
        "trial_duration_median_s": statistics.median(r.duration_s for r in outcome.records),
        "peak_memory_gib": watched.peak_memory_bytes / 2**30,
        "search_wall_s": watched.wall_s,
    }
    for stage in sorted({stage for e in evaluations for stage in e.stage_s}):
        seconds = [e.stage_s[stage] for e in evaluations if stage in e.stage_s]
        found[f"stage_{stage.replace(' ', '_')}_median_s"] = statistics.median(seconds)
    return found


def main() -> None:
    """Measure, print, and write the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--space", type=Path, default=SPACE, help="the search space file")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    arguments = parser.parse_args()
    helps = help_seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watched = watch_search(arguments.space.resolve(), arguments.trials, folder)
        outcome = read_study(folder)
    same = {
        "date": datetime.date.today().isoformat(),
        "device": processor_name(),
        "cores": usable_cores(),
        "autosinian": version("autosinian"),
        "openvino": version("openvino"),
        "torch": version("torch"),
        "optuna": version("optuna"),
        "space": arguments.space.name,
        "trials": len(outcome.records),
    }
    rows = []
    for figure, value in figures(outcome, watched, helps).items():
        target = TARGETS.get(figure)
        verdict = "" if target is None else "reached" if value <= target else "MISSED"
        row = {"figure": figure, "value": round(value, 3), "at_most": target or "", "is": verdict}
        print(f"{figure:34} {value:9.3f}  {'' if target is None else f'<= {target:g}'} {verdict}")
        rows.append(same | row)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
