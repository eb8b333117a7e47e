"""Judge the model of the measured CIFAR-10 subnets, and find the best fronts there are on it.

    python benchmarks/fit_subnets.py --errors benchmarks/results/subnet_model_error.csv --fronts

`--errors` writes what the model gets wrong on held-back subnets (five folds; the batch sizes in
between on those subnets that were measured there), beside the spread of two measurements of one
subnet, which nothing can be better than. `--fronts` searches each problem's model by genetic
search from several starts, then by all changes of one gene until none helps, and writes
`search_quality/cifar10_fronts.csv`: what the benchmark calls the best known front.
"""

import argparse
import csv
import datetime
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from autosinian.content import atomic_file
from autosinian.engine.processor import processor_name
from search_quality.cifar10_subnets import (
    CPU_BATCHES,
    FRONTS,
    GPU_BATCHES,
    Table,
    between,
    measured,
    read_table,
)
from search_quality.front_search import best_known
from search_quality.hypervolume import non_dominated
from search_quality.surrogate import Surrogate
from subnet_table.features import Genes, Vector

FOLDS = 5
BETWEEN = {"gpu": 16, "cpu": 4}


def held_back(words: list[str], targets: Vector) -> Vector:
    """For each subnet the predictions, `n x m`, of a model that has not seen it."""
    genes = Genes.read(words)
    fold = np.random.default_rng(0).permutation(len(words)) % FOLDS
    predicted = np.zeros(targets.shape)
    for number in range(FOLDS):
        out = fold == number
        model = Surrogate(genes.take(np.flatnonzero(~out)), targets[~out])
        predicted[out] = model(genes.take(np.flatnonzero(out)))
    return predicted


def rank_correlation(first: Vector, second: Vector) -> float:
    """Spearman's."""
    one, other = (
        np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
        for values in (first, second)
    )
    return float(np.corrcoef(one, other)[0, 1])


def errors(table: Table) -> list[dict[str, object]]:
    """One row for each figure the model stands for."""
    found: list[dict[str, object]] = []
    for device, batches in (("gpu", GPU_BATCHES), ("cpu", CPU_BATCHES)):
        names = [f"{device}_b{batch}_us" for batch in batches]
        if not set(names) <= set(table.latency_us):
            continue
        words, figures = measured(table, device)
        predicted = held_back(words, figures)
        if not found:
            real = figures[:, 0]
            noise = float(np.mean(np.sqrt(real * (1 - real) / table.images)))
            found.append(error_row("accuracy", real, predicted[:, 0], relative=False, noise=noise))
        for column, name in enumerate(names, 1):
            again = table.latency_us[f"{name}_again"] / table.latency_us[name]
            real, guess = np.exp(figures[:, column]), np.exp(predicted[:, column])
            spread = float(np.nanmean(np.abs(again - 1)))
            found.append(error_row(name, real, guess, relative=True, noise=spread))
        name = f"{device}_b{BETWEEN[device]}_us"
        if name in table.latency_us:
            values = dict(zip(table.words, table.latency_us[name].tolist(), strict=True))
            there = [i for i, word in enumerate(words) if np.isfinite(values[word])]
            low, high = np.exp(predicted[there, 1]), np.exp(predicted[there, 2])
            guess = between(low, high, np.full(len(there), BETWEEN[device]), batches)
            real = np.array([values[words[i]] for i in there])
            found.append(error_row(f"{name} (in between)", real, guess, relative=True, noise=None))
    return found


def error_row(
    name: str, measured: Vector, predicted: Vector, *, relative: bool, noise: float | None
) -> dict[str, object]:
    """Mean error and rank correlation of one figure."""
    error = np.abs(predicted / measured - 1) if relative else np.abs(predicted - measured)
    return {
        "figure": name,
        "subnets": len(measured),
        "lowest": round(float(measured.min()), 4),
        "highest": round(float(measured.max()), 4),
        "rank_correlation": round(rank_correlation(measured, predicted), 4),
        "mean_error": round(float(error.mean()), 5),
        "worst_error": round(float(error.max()), 5),
        "error_is": "of the figure" if relative else "absolute",
        "of_two_measurements": "" if noise is None else round(noise, 5),
        "numpy": version("numpy"),
        "device": processor_name(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """A CSV file, whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--errors", type=Path, help="CSV file of held-out errors to write")
    parser.add_argument("--fronts", action="store_true", help="write the best known fronts")
    parser.add_argument("--population", type=int, default=1500)
    parser.add_argument("--generations", type=int, default=120)
    parser.add_argument("--starts", type=int, default=2)
    options = parser.parse_args()
    table = read_table()
    if options.errors:
        rows = errors(table)
        write(options.errors, rows)
        for row in rows:
            print(
                f"{row['figure']!s:26} {row['subnets']} subnets: rank correlation "
                f"{row['rank_correlation']}, mean error {row['mean_error']} {row['error_is']}, "
                f"of two measurements {row['of_two_measurements']}"
            )
    if options.fronts:
        found: list[dict[str, object]] = []
        for device in ("gpu", "cpu"):
            start = time.monotonic()
            words, batches, points = best_known(
                device, options.population, options.generations, options.starts
            )
            signs = np.array([-1.0, -1.0 if device == "gpu" else 1.0])
            for i in non_dominated(points * signs):
                accuracy, second = points[i].tolist()
                found.append(
                    {
                        "device": device,
                        "accuracy": accuracy,
                        "second": second,
                        "subnet": words[i],
                        "batch_size": int(batches[i]),
                    }
                )
            print(
                f"{device}: {len(found)} points so far, {time.monotonic() - start:.0f} s",
                file=sys.stderr,
            )
        write(FRONTS, found)


if __name__ == "__main__":
    main()
