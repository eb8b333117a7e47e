"""The space of once-for-all's ImageNet MobileNetV3: 5 stages of 2 to 4 blocks, 25 resolutions."""

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import create_study

from autosinian.search.strategy.axes import Gate
from autosinian.search.strategy.front import hypervolume
from autosinian.search.strategy.joint import JointSampler
from tests.search.strategy.problems import Parameters

STAGES = ((24, 56), (40, 28), (80, 14), (112, 14), (160, 7))
"""Channels, and the side of the feature map at 224 pixels (Cai et al., 2020)."""
SPACE: dict[str, BaseDistribution] = {
    **{f"depth_{stage}": CategoricalDistribution((2, 3, 4)) for stage in range(5)},
    **{f"kernel_size_{block}": CategoricalDistribution((3, 5, 7)) for block in range(20)},
    **{f"expand_ratio_{block}": CategoricalDistribution((3, 4, 6)) for block in range(20)},
    "resolution": CategoricalDistribution(tuple(range(128, 225, 4))),
}
GATES = {
    f"{gene}_{4 * stage + position}": Gate(
        f"depth_{stage}", tuple(depth for depth in (2, 3, 4) if depth > position)
    )
    for stage in range(5)
    for position in (2, 3)
    for gene in ("kernel_size", "expand_ratio")
}


def figures(parameters: Parameters) -> tuple[float, float]:
    """An accuracy that saturates with capacity, and 10^6 multiply-adds of the blocks, exactly."""
    capacity = multiply_adds = 0.0
    for stage, (channels, side) in enumerate(STAGES):
        pixels = (side * parameters["resolution"] / 224) ** 2
        for block in range(4 * stage, 4 * stage + parameters[f"depth_{stage}"]):
            kernel, ratio = parameters[f"kernel_size_{block}"], parameters[f"expand_ratio_{block}"]
            multiply_adds += pixels * channels * ratio * (2 * channels + kernel**2)
            capacity += (0.5 + 0.3 * (block * 7 % 5)) * (1 + 0.1 * kernel + 0.3 * ratio)
    accuracy = 0.8 - 0.2 * np.exp(-capacity / 25) - 0.08 * (1 - parameters["resolution"] / 224)
    return float(accuracy), multiply_adds / 1e6


def covered(sampler: BaseSampler, trials: int) -> float:
    """Hypervolume of so many trials, from accuracy 0.6 and a thousand million multiply-adds."""
    study = create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, figures(trial.params))
    values = np.asarray([(-t.values[0], t.values[1]) for t in study.trials])
    return hypervolume(values, np.asarray([-0.6, 1000.0]))


def test_thirty_trials_find_more_than_three_hundred_uniform_draws() -> None:
    joint = covered(JointSampler(seed=0, search_space=SPACE, gates=GATES), 30)
    assert joint > covered(RandomSampler(seed=0), 300)
