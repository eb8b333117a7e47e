from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from autosinian.search import JointSampler
from autosinian.search.strategy.acquisition import Estimate
from autosinian.search.strategy.history import KNOWN
from autosinian.search.strategy.joint import QUALITY_ATTRIBUTE, SpaceExhausted
from tests.search.strategy.problems import GATES, SPACE, covered, figures, search

SPACES: list[dict[str, BaseDistribution]] = [
    {"x": FloatDistribution(-2, 3)},
    {"x": FloatDistribution(1e-4, 1e2, log=True), "y": FloatDistribution(0, 1, step=0.25)},
    {"x": IntDistribution(1, 1_000_000, log=True)},
    {"x": IntDistribution(-3, 9, step=3), "y": CategoricalDistribution((None, True, "a", 1.5))},
    {"x": CategoricalDistribution((64, 4, 16, 8)), "y": CategoricalDistribution((0.5, 2, "c", 9))},
    {"x": IntDistribution(0, 0), "y": FloatDistribution(0.5, 0.5), "z": FloatDistribution(0, 1)},
    {**{f"op_{i}": CategoricalDistribution(("a", "b", "c")) for i in range(4)}},
]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("objectives", [1, 2])
def test_proposals_are_values_of_the_space(
    space: dict[str, BaseDistribution], objectives: int
) -> None:
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=JointSampler(seed=3))
    seen = set()
    for number in range(13):
        trial = study.ask(space)
        for name, distribution in space.items():
            value = trial.params[name]
            assert distribution._contains(distribution.to_internal_repr(value))
        seen.add(str(sorted(trial.params.items(), key=str)))
        study.tell(trial, [float(len(str(trial.params)) + number) for _ in range(objectives)])
    assert len(seen) == 13


def test_a_conditional_objective_is_searched_without_being_told_its_shape() -> None:
    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ("line", "bowl"))
        if kind == "line":
            return 2.0 + trial.suggest_float("slope", 0, 1)
        x, y = trial.suggest_float("x", -1, 1), trial.suggest_int("y", -8, 8)
        return (x - 0.3) ** 2 + (y - 3) ** 2 / 64

    study = optuna.create_study(sampler=JointSampler(seed=0))
    study.optimize(objective, n_trials=30)
    assert study.best_value < 0.02
    assert {len(trial.params) for trial in study.trials} == {2, 3}


def test_one_objective_is_minimised_to_its_least() -> None:
    study = optuna.create_study(sampler=JointSampler(seed=1))
    study.optimize(
        lambda t: (t.suggest_float("x", -5, 5) - 1) ** 2 + abs(t.suggest_int("y", 0, 30) - 17),
        n_trials=40,
    )
    assert study.best_value < 0.05


@pytest.fixture(scope="module")
def searched() -> optuna.Study:
    """Forty trials without help, not to be changed."""
    return search(JointSampler(seed=0, search_space=SPACE, gates=GATES), 40)


def test_forty_trials_find_what_uniform_draws_do_not_in_four_hundred(
    searched: optuna.Study,
) -> None:
    assert covered(searched) > covered(search(RandomSampler(seed=0), 400))


def test_the_quality_of_predictors_is_told(searched: optuna.Study) -> None:
    told = searched.user_attrs[QUALITY_ATTRIBUTE]
    assert [entry["name"] for entry in told] == ["objective 0", "objective 1"]
    assert all(entry["rank_correlation"] > 0.8 for entry in told)
    assert all(entry["trials"] >= 35 for entry in told)


def test_a_seed_reproduces_and_another_does_not() -> None:
    def proposed(seed: int) -> list[dict[str, Any]]:
        return [t.params for t in search(JointSampler(seed=seed), 14).trials]

    one = proposed(7)
    assert one == proposed(7)
    assert one != proposed(8)


def test_another_process_continues_as_the_first_would(searched: optuna.Study) -> None:
    again = optuna.create_study(directions=["maximize", "minimize"])
    again.add_trials(searched.trials[:25])
    again.sampler = JointSampler(seed=0, search_space=SPACE, gates=GATES)
    assert again.ask(SPACE).params == searched.trials[25].params


def test_no_two_workers_are_given_the_same_or_nearly_the_same(searched: optuna.Study) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(searched.trials)
    study.sampler = JointSampler(seed=0, search_space=SPACE, gates=GATES)
    given = [study.ask(SPACE).params for _ in range(8)]
    assert len({str(p) for p in given}) == 8
    milliseconds = sorted(figures(p)[1] for p in given)
    assert milliseconds[-1] > 1.5 * milliseconds[0]


def test_an_exhausted_space_ends_with_that_word() -> None:
    space = {"a": IntDistribution(0, 3), "b": CategoricalDistribution(("x", "y", "z"))}
    study = optuna.create_study(sampler=JointSampler(seed=0, search_space=space))
    for _ in range(12):
        trial = study.ask(space)
        study.tell(trial, float(trial.params["a"]))
    assert len({str(t.params) for t in study.trials}) == 12
    with pytest.raises(SpaceExhausted, match="exhausted"):
        study.ask(space)


def test_what_a_gate_closes_makes_no_new_candidate() -> None:
    space = {
        "depth_0": CategoricalDistribution((1, 2)),
        "kernel_size_1": CategoricalDistribution((3, 5, 7)),
    }
    gates = {"kernel_size_1": GATES["kernel_size_1"]}
    study = optuna.create_study(sampler=JointSampler(seed=0, search_space=space, gates=gates))
    for _ in range(4):
        study.tell(study.ask(space), 0.0)
    with pytest.raises(SpaceExhausted):
        study.ask(space)


def test_constraints_are_kept_where_most_of_the_space_breaks_them() -> None:
    def judge(trial: optuna.Trial, found: tuple[float, float]) -> None:
        trial.set_constraint("fast", found[1] - 4.0)

    study = search(JointSampler(seed=0, search_space=SPACE, gates=GATES), 40, on_trial=judge)
    feasible = [t.constraints["fast"] <= 0 for t in study.trials]
    assert sum(feasible[20:]) >= 15
    uniform = search(RandomSampler(seed=0), 40, on_trial=judge)
    assert sum(t.constraints["fast"] <= 0 for t in uniform.trials) < 10


def test_a_constraints_function_is_heard_and_infeasible_trials_alone_converge() -> None:
    def violation(trial: FrozenTrial) -> tuple[float]:
        return (abs(trial.params["x"] - 0.7) + abs(trial.params["y"] - 0.2) - 0.03,)

    study = optuna.create_study(sampler=JointSampler(seed=0, constraints_func=violation))
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=45)
    assert any(all(v <= 0 for v in t.constraints.values()) for t in study.trials)


def test_failed_trials_teach_where_not_to_go() -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=JointSampler(seed=0, search_space=SPACE, gates=GATES),
    )
    for _ in range(40):
        trial = study.ask(SPACE)
        if trial.params["precision"] == "int8" and trial.params["batch_size"] > 8:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, figures(trial.params))
    assert sum(t.state == TrialState.FAIL for t in study.trials[20:]) <= 5


def test_predictors_that_predict_nothing_step_aside() -> None:
    study = optuna.create_study(sampler=JointSampler(seed=0))
    space = {f"x_{i}": IntDistribution(0, 9) for i in range(5)}
    for number in range(30):
        trial = study.ask(space)
        study.tell(trial, float(hash((number * 7919) % 104729) % 1009))
    told = study.user_attrs[QUALITY_ATTRIBUTE][0]
    assert told["rank_correlation"] < 0.5
    trial = study.ask(space)
    assert study.sampler.chance(study, _frozen(study, trial), {}) is None  # type: ignore[attr-defined]


def test_given_parameters_come_first_and_in_order() -> None:
    first = [_middle(batch_size=8), _middle(batch_size=2), _middle(resolution=224)]
    study = search(JointSampler(seed=0, warm_start=first, search_space=SPACE), 4)
    assert [t.params for t in study.trials[:3]] == first
    assert study.trials[3].params not in first


def test_another_study_is_begun_from_its_front_and_what_it_taught(
    searched: optuna.Study,
) -> None:
    cold = search(JointSampler(seed=4, search_space=SPACE, gates=GATES), 12)
    sampler = JointSampler(seed=4, search_space=SPACE, gates=GATES, warm_start=searched.trials)
    warm = search(sampler, 12)
    assert warm.trials[0].params in [t.params for t in searched.best_trials]
    assert covered(warm) > covered(cold)


def test_a_trial_stopped_early_teaches_what_it_knew() -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=JointSampler(seed=0, search_space=SPACE, gates=GATES),
    )
    for number in range(30):
        trial = study.ask(SPACE)
        accuracy, milliseconds = figures(trial.params)
        if number % 3 == 2:
            trial.set_user_attr(KNOWN, [accuracy, None])
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, (accuracy, milliseconds))
    study.ask(SPACE)
    trials = [entry["trials"] for entry in study.user_attrs[QUALITY_ATTRIBUTE]]
    assert trials == [30, 20]


def test_a_dominated_trial_has_no_chance_and_a_leader_has_one(searched: optuna.Study) -> None:
    sampler = JointSampler(seed=0, search_space=SPACE, gates=GATES)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.add_trials(searched.trials)
    trial = _frozen(study, study.ask(SPACE))
    hopeless = sampler.chance(study, trial, {0: Estimate(0.3)})
    leading = sampler.chance(study, trial, {0: Estimate(0.9, 0.01)})
    assert hopeless is not None and hopeless < 0.05
    assert leading is not None and leading > 0.95


def test_three_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize"] * 3, sampler=JointSampler(seed=0))
    study.tell(study.ask({"x": IntDistribution(0, 9)}), [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="one objective or two, but the study has 3"):
        study.ask({"x": IntDistribution(0, 9)})


def _frozen(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _middle(**changed: Any) -> Mapping[str, Any]:
    values: dict[str, Any] = {}
    for name, distribution in SPACE.items():
        if isinstance(distribution, CategoricalDistribution):
            values[name] = distribution.choices[-1]
        elif isinstance(distribution, IntDistribution):
            values[name] = distribution.low
        else:
            values[name] = 0.5
    return values | changed
