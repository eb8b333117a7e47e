import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState

from autosinian.search import JointSampler
from autosinian.search.strategy.history import KNOWN

SPACE: dict[str, BaseDistribution] = {f"x{i}": IntDistribution(0, 9) for i in range(8)}


def test_trials_that_miss_a_strict_constraint_teach_where_it_is_met() -> None:
    """One uniform point in thousands is feasible; others are stopped before their second figure."""
    sampler = JointSampler(seed=0)
    study = optuna.create_study(directions=["maximize", "maximize"], sampler=sampler)
    feasible = []
    for _ in range(45):
        trial = study.ask(SPACE)
        first = sum(trial.params.values())
        second = sum((i % 3) * value for i, value in enumerate(trial.params.values()))
        trial.set_constraint("first is high", 58.0 - first)
        feasible.append(first >= 58)
        if feasible[-1]:
            study.tell(trial, [float(first), float(-second)])
        else:
            trial.set_user_attr(KNOWN, [float(first), None])
            study.tell(trial, state=TrialState.PRUNED)
    assert sum(feasible[-20:]) >= 10
