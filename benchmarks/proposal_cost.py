"""What proposing a trial costs, and opening a large study, in seconds and memory.

    python benchmarks/proposal_cost.py --output benchmarks/results/proposal_cost.csv

Two measurements, each in a process of its own. *Proposing*: `JointSampler` on a study of
`--trials` finished trials of `--dimensions` mixed dimensions, two objectives, in memory; the
first proposal reads the study and trains, those after follow a told trial each, as in a search.
*Opening*: a SQLite study of `--large` trials is loaded, and its trials are read. Figures are made
up by a formula: nothing is measured but the strategy and the storage.

Beside seconds by the clock (`_s`) stand those of the processor (`_cpu_s`), and the machine's load
average before: where others work beside, the clock tells of them too.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
    distribution_to_json,
)

from autosinian.search import JointSampler
from autosinian.search.storage import open_storage
from autosinian.search.strategy.axes import Axes

FIELDS = (
    "what",
    "trials",
    "dimensions",
    "figure",
    "value",
    "processor",
    "python",
    "optuna",
    "load",
    "date",
)
TOLD = 12
"""Proposals that are timed after the first."""


def make_space(dimensions: int) -> dict[str, BaseDistribution]:
    """Kernel sizes, expansion ratios and depths as of a supernet, and how it is served."""
    space: dict[str, BaseDistribution] = {
        "resolution": CategoricalDistribution(tuple(range(128, 225, 16))),
        "precision": CategoricalDistribution(("fp32", "fp16", "int8")),
        "batch_size": IntDistribution(1, 256, log=True),
        "streams": IntDistribution(1, 8),
    }
    kinds: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("kernel_size", (3, 5, 7)),
        ("expand_ratio", (3, 4, 6)),
        ("depth", (2, 3, 4)),
    )
    for number in range(max(0, dimensions - len(space))):
        name, choices = kinds[number % len(kinds)]
        space[f"{name}_{number // len(kinds)}"] = CategoricalDistribution(choices)
    return dict(list(space.items())[:dimensions])


def made_up(axes: Axes, points: np.ndarray) -> np.ndarray:
    """`n x 2` accuracy and samples/s: additive and saturating, with some noise."""
    rng = np.random.default_rng(1)
    places = np.stack([axis.place(points[:, i]) for i, axis in enumerate(axes.axes)], axis=1)
    gain = places @ rng.uniform(0.5, 1.5, len(axes))
    cost = places @ rng.uniform(0.2, 2.0, len(axes))
    noise = np.random.default_rng(2).normal(0, 0.001, len(points))
    return np.stack([0.8 - 0.3 * np.exp(-gain / len(axes)) + noise, 1e5 / (5 + cost)], axis=1)


def finished(count: int, space: dict[str, BaseDistribution]) -> list[optuna.trial.FrozenTrial]:
    """Trials at uniform draws."""
    axes = Axes(space)
    points = axes.uniform(np.random.default_rng(0), count)
    return [
        optuna.trial.create_trial(
            params=axes.decode(point), distributions=space, values=list(map(float, values))
        )
        for point, values in zip(points, made_up(axes, points), strict=True)
    ]


def measure_proposing(trials: int, dimensions: int) -> dict[str, float]:
    """Seconds of the first proposal, the median and the longest of those after, MiB at most."""
    space = make_space(dimensions)
    axes = Axes(space)
    study = optuna.create_study(directions=["maximize", "maximize"])
    study.add_trials(finished(trials, space))
    before = psutil.Process().memory_info().rss
    study.sampler = JointSampler(seed=0, search_space=space)
    took, cpu = [], []
    for _ in range(TOLD + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        trial = study.ask(space)
        took.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
        study.tell(trial, list(map(float, made_up(axes, axes.encode(trial.params)[None])[0])))
    return {
        "first_s": took[0],
        "first_cpu_s": cpu[0],
        "median_s": statistics.median(took[1:]),
        "median_cpu_s": statistics.median(cpu[1:]),
        "longest_s": max(took[1:]),
        "longest_cpu_s": max(cpu[1:]),
        "memory_mib": (psutil.Process().memory_info().rss - before) / 2**20,
    }


def measure_opening(database: Path) -> dict[str, float]:
    """Seconds until the trials are there, and the process's MiB then."""
    start, start_cpu = time.perf_counter(), time.process_time()
    storage = open_storage(f"sqlite:///{database}", must_exist=True)
    study = optuna.load_study(study_name="large", storage=storage)
    trials = study.get_trials(deepcopy=False)
    opened, opened_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    space = dict(trials[0].distributions)
    study.sampler = JointSampler(seed=0, search_space=space)
    start, start_cpu = time.perf_counter(), time.process_time()
    study.ask(space)
    return {
        "open_s": opened,
        "open_cpu_s": opened_cpu,
        "first_proposal_s": time.perf_counter() - start,
        "first_proposal_cpu_s": time.process_time() - start_cpu,
        "process_mib": psutil.Process().memory_info().rss / 2**20,
    }


def write_large(database: Path, trials: int, dimensions: int) -> None:
    """A study in a SQLite file; its rows are written as they are, for Optuna takes an hour."""
    storage = open_storage(f"sqlite:///{database}")
    optuna.create_study(study_name="large", storage=storage, directions=["maximize", "maximize"])
    space = make_space(dimensions)
    texts = {name: distribution_to_json(distribution) for name, distribution in space.items()}
    now = datetime.datetime.now().isoformat(sep=" ")
    with sqlite3.connect(database) as connection:
        for number, trial in enumerate(finished(trials, space)):
            row = (number + 1, number, 1, "COMPLETE", now, now)
            connection.execute(
                "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, "
                "datetime_complete) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            connection.executemany(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
                "VALUES (?, ?, ?, ?)",
                [
                    (number + 1, name, space[name].to_internal_repr(value), texts[name])
                    for name, value in trial.params.items()
                ],
            )
            connection.executemany(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) "
                "VALUES (?, ?, ?, 'FINITE')",
                [(number + 1, j, value) for j, value in enumerate(trial.values)],
            )


def main() -> None:
    """Run the parts as processes; print and keep a row for each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--dimensions", type=int, default=100)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--database", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if arguments.part == "proposing":
        print(json.dumps(measure_proposing(arguments.trials, arguments.dimensions)))
        return
    if arguments.part == "opening":
        print(json.dumps(measure_opening(arguments.database)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "large.db"
        write_large(database, arguments.large, arguments.dimensions)
        parts = (("proposing", arguments.trials), ("opening", arguments.large))
        for part, trials in parts:
            command = [sys.executable, __file__, "--part", part, "--database", str(database)]
            command += ["--trials", str(trials), "--dimensions", str(arguments.dimensions)]
            load = os.getloadavg()[0]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for figure, value in json.loads(text).items():
                rows.append(_row(part, trials, arguments.dimensions, figure, value, load))
                print(f"{part:10} {trials:6} x {arguments.dimensions:3}  {figure:20} {value:9.3f}")
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS)
            writer.writeheader()
            writer.writerows(rows)


def _row(
    part: str, trials: int, dimensions: int, figure: str, value: float, load: float
) -> dict[str, Any]:
    return {
        "what": part,
        "trials": trials,
        "dimensions": dimensions,
        "figure": figure,
        "value": round(value, 4),
        "processor": f"{platform.machine()}, {psutil.cpu_count()} threads",
        "python": platform.python_version(),
        "optuna": optuna.__version__,
        "load": round(load, 1),
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
