import math

import optuna
from optuna.distributions import BaseDistribution, IntDistribution

from autosinian.search import JointSampler
from autosinian.search.strategy.cost import CostModel, Stages

SPACE: dict[str, BaseDistribution] = {
    "subnet": IntDistribution(0, 99),
    "batch": IntDistribution(1, 8),
}
STAGES = Stages(
    keys=lambda values: {"build": values["subnet"], "run": None},
    seconds=lambda trial: trial.user_attrs["seconds"],
)


def make(subnet: int, batch: int, build: float) -> optuna.trial.FrozenTrial:
    """A finished trial that took `build` and three seconds."""
    return optuna.trial.create_trial(
        params={"subnet": subnet, "batch": batch},
        distributions=SPACE,
        values=[float(batch), float(subnet)],
        user_attrs={"seconds": {"build": build, "run": 3.0}},
    )


def numbered(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """As a study has them."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(trials)
    return study.trials


def test_what_was_done_before_costs_nothing_again() -> None:
    model = CostModel(STAGES)
    model.read(numbered([make(1, 1, 9.0), make(2, 1, 9.0), make(2, 2, 0.0), make(1, 3, 0.0)]))
    known, new = model.log_seconds([{"subnet": 1, "batch": 7}, {"subnet": 3, "batch": 7}])
    assert math.isclose(math.exp(new - known), 12.0 / 3.0)


def test_the_search_prefers_what_is_built_where_it_is_much_cheaper() -> None:
    def reused(stages: Stages | None) -> int:
        sampler = JointSampler(seed=0, search_space=SPACE, stages=stages)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        seen: set[int] = set()
        count = 0
        for _ in range(24):
            trial = study.ask(SPACE)
            subnet, batch = trial.params["subnet"], trial.params["batch"]
            count += subnet in seen
            trial.set_user_attr("seconds", {"build": 0.0 if subnet in seen else 97.0, "run": 3.0})
            seen.add(subnet)
            accuracy = 1 - abs(subnet - 60) / 100
            study.tell(trial, [accuracy * batch**0.2, (1 + subnet / 50) * (1 + 3 / batch)])
        return count

    assert reused(STAGES) > reused(None)
