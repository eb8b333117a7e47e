"""Small problems whose every answer is a formula."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autosinian.search.strategy.axes import Gate
from autosinian.search.strategy.front import hypervolume

Parameters = Mapping[str, Any]
BLOCKS = 10

SPACE: dict[str, BaseDistribution] = {
    **{f"depth_{i}": CategoricalDistribution((1, 2)) for i in range(BLOCKS // 2)},
    **{f"kernel_size_{i}": CategoricalDistribution((3, 5, 7)) for i in range(BLOCKS)},
    **{f"expand_ratio_{i}": CategoricalDistribution((3, 4, 6)) for i in range(BLOCKS)},
    "resolution": IntDistribution(128, 224, step=32),
    "precision": CategoricalDistribution(("fp32", "int8")),
    "batch_size": IntDistribution(1, 64, log=True),
    "share": FloatDistribution(0.0, 1.0),
}
"""Stages of one or two blocks, as a supernet has them, and how they are served."""

GATES = {
    f"{gene}_{2 * stage + 1}": Gate(f"depth_{stage}", (2,))
    for stage in range(BLOCKS // 2)
    for gene in ("kernel_size", "expand_ratio")
}


def figures(parameters: Parameters) -> tuple[float, float]:
    """Accuracy (maximised) and milliseconds (minimised)."""
    gain = work = 0.0
    for block in range(BLOCKS):
        if block % 2 and parameters[f"depth_{block // 2}"] == 1:
            continue
        kernel, ratio = parameters[f"kernel_size_{block}"], parameters[f"expand_ratio_{block}"]
        gain += (1 + block / BLOCKS) * (1 + 0.3 * (kernel - 3) / 4 + 0.6 * (ratio - 3) / 3)
        work += ratio * (20 + kernel**2) / 100 * (1.5 - block / BLOCKS)
    scale = parameters["resolution"] / 224
    int8 = parameters["precision"] == "int8"
    accuracy = 0.8 - 0.3 * np.exp(-gain / 9) - 0.1 * (1 - scale) - 0.005 * int8
    batch = parameters["batch_size"]
    milliseconds = work * scale**2 * (0.4 if int8 else 1.0) * (1 + 3 / batch + batch / 200)
    return float(accuracy), float(milliseconds * (1 + (parameters["share"] - 0.4) ** 2))


def search(
    sampler: optuna.samplers.BaseSampler,
    trials: int,
    *,
    on_trial: Callable[[optuna.Trial, tuple[float, float]], None] = lambda trial, found: None,
) -> optuna.Study:
    """A study of the problem after so many trials."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(trials):
        trial = study.ask(SPACE)
        found = figures(trial.params)
        on_trial(trial, found)
        study.tell(trial, found)
    return study


def covered(study: optuna.Study) -> float:
    """Hypervolume of the feasible trials, from accuracy 0.5 and 20 ms."""
    values = [
        (-trial.values[0], trial.values[1])
        for trial in study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        if all(v <= 0 for v in trial.constraints.values())
    ]
    return hypervolume(np.asarray(values).reshape(-1, 2), np.asarray([-0.5, 20.0]))
