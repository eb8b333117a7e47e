"""A run's evaluations in a file, so that any measure can be taken of them again."""

from pathlib import Path

import numpy as np

from autosinian.content import atomic_file
from search_quality.runner import Evaluation, Trace


def write(path: Path, trace: Trace) -> None:
    """An `.npz` file of the trace; objectives are NaN where a trial was stopped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    missing = (float("nan"), float("nan"))
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            objectives=np.array([e.objectives or missing for e in trace.evaluations]),
            feasible=np.array([e.feasible for e in trace.evaluations]),
            seconds=np.array([e.seconds for e in trace.evaluations]),
            keys=np.array([e.key for e in trace.evaluations]),
            repeats=trace.repeats,
            ask_s=trace.ask_s,
        )


def read(path: Path) -> Trace:
    """The trace of a file that `write` wrote."""
    with np.load(path, allow_pickle=False) as found:
        evaluations = tuple(
            Evaluation(
                None if np.isnan(figures).any() else (float(figures[0]), float(figures[1])),
                bool(feasible),
                float(seconds),
                str(key),
            )
            for figures, feasible, seconds, key in zip(
                found["objectives"],
                found["feasible"],
                found["seconds"],
                found["keys"],
                strict=True,
            )
        )
        return Trace(evaluations, int(found["repeats"]), float(found["ask_s"]))
