from pathlib import Path

import optuna

from autosinian.search.judge import Judge
from autosinian.search.promise import Promise
from autosinian.search.sampler import DistinctSampler
from autosinian.space.space import Space
from tests.search.studies import ask, figures, keep_baseline, open_small_study, tell
from tests.space.small_supernet import small_space


def searched(space: Space, folder: Path) -> tuple[optuna.Study, Judge]:
    """Twenty trials."""
    study, store = open_small_study(space, folder, first=space.warm_start())
    judge = Judge(space.document, figures(space.baseline()).metrics)
    keep_baseline(study, space, figures(space.baseline()))
    for _ in range(20):
        trial, candidate = ask(study, space)
        tell(study, trial, candidate, figures(candidate), judge)
        store.finish(candidate.key)
    return study, judge


def test_a_trial_is_stopped_where_the_front_will_dominate_it(tmp_path: Path) -> None:
    space = small_space()
    study, judge = searched(space, tmp_path)
    trial, _ = ask(study, space)
    assert isinstance(study.sampler, DistinctSampler)
    frozen = study.get_trials(deepcopy=False)[trial.number]
    promise = Promise(study, frozen, study.sampler, judge, space.document)
    best = max(t.values[0] for t in study.trials if t.values)
    assert promise.decide({"accuracy": (best + 0.01, 0.0)}) == ""
    reason = promise.decide({"accuracy": (0.0, 0.0)})
    assert reason.startswith("stopped: ")
    assert "accuracy 0" in reason


def test_a_bound_that_may_still_be_kept_stops_nothing(tmp_path: Path) -> None:
    space = small_space()
    study, judge = searched(space, tmp_path)
    trial, _ = ask(study, space)
    assert isinstance(study.sampler, DistinctSampler)
    frozen = study.get_trials(deepcopy=False)[trial.number]
    promise = Promise(study, frozen, study.sampler, judge, space.document)
    rule = space.document.rules[0]
    bound = rule.bound(figures(space.baseline()).metrics)
    assert "beyond doubt" in promise.decide({"accuracy": (bound - 0.04, 0.01)})
    assert "beyond doubt" not in promise.decide({"accuracy": (bound - 0.02, 0.01)})
