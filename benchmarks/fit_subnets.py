"""Judge the model of the measured CIFAR-10 subnets, and find the best fronts there are on it.

    python benchmarks/fit_subnets.py --errors benchmarks/results/subnet_model_error.csv --fronts

`--errors` writes what the model gets wrong on held-back subnets (five folds; the batch sizes in
between on those subnets that were measured there), beside how far one measurement lies from the
figure that is told (for accuracy: the standard error of so many images). `--fronts` searches each
problem's model by genetic search from several starts, then by all changes of one gene until none
helps, and writes `--output`, by default `search_quality/cifar10_fronts.csv`: what the benchmark
calls the best known front.
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


def held_back(words: list[str], target: Vector) -> Vector:
    """For each subnet the prediction of a model that has not seen it."""
    genes = Genes.read(words)
    fold = np.random.default_rng(0).permutation(len(words)) % FOLDS
    predicted = np.zeros(target.shape)
    for number in range(FOLDS):
        out = fold == number
        model = Surrogate(genes.take(np.flatnonzero(~out)), target[~out])
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
    words, real = measured(table, table.accuracy)
    noise = float(np.mean(np.sqrt(real * (1 - real) / table.images)))
    guess = held_back(words, real)
    found = [error_row("accuracy", real, guess, relative=False, noise=noise)]
    for device, batches in (("gpu", GPU_BATCHES), ("cpu", CPU_BATCHES)):
        held: list[dict[str, float]] = []
        for batch in batches:
            name = f"{device}_b{batch}_us"
            words, real = measured(table, table.latency_us[name])
            guess = np.exp(held_back(words, np.log(real)))
            held.append(dict(zip(words, guess.tolist(), strict=True)))
            again = table.latency_us.get(f"{name}_again", np.full(len(table.words), np.nan))
            off = np.abs(again / table.latency_us[name] - 1)
            noise_of = float(np.nanmean(off)) if np.isfinite(off).any() else None
            found.append(error_row(name, real, guess, relative=True, noise=noise_of))
        name = f"{device}_b{BETWEEN[device]}_us"
        words, real = measured(table, table.latency_us[name])
        low, high = (np.array([known[word] for word in words]) for known in held)
        guess = between(low, high, np.full(len(words), BETWEEN[device]), batches)
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
        "of_one_measurement": "" if noise is None else round(noise, 5),
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
    parser.add_argument("--output", type=Path, default=FRONTS, help="CSV file of the fronts")
    parser.add_argument("--devices", nargs="*", default=["gpu", "cpu"], choices=["gpu", "cpu"])
    parser.add_argument("--population", type=int, default=600)
    parser.add_argument("--generations", type=int, default=150)
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
                f"of one measurement {row['of_one_measurement']}"
            )
    if options.fronts:
        found: list[dict[str, object]] = []
        for device in options.devices:
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
        write(options.output, found)


if __name__ == "__main__":
    main()
