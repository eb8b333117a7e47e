from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from autosinian.search.storage import open_storage
from tests.search.studies import url_of


def test_trials_are_read_as_optuna_reads_them(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    study = optuna.create_study(
        study_name="s", storage=RDBStorage(url), directions=["minimize"] * 2
    )
    other = optuna.create_study(study_name="o", storage=RDBStorage(url))
    for number in range(6):
        trial = study.ask()
        trial.suggest_int("x", 0, 9)
        trial.suggest_categorical("y", ("a", None, 3))
        if number % 2:
            trial.suggest_float("z", 0, 1)
        trial.set_user_attr("text", {"n": number})
        trial.set_constraint("c", number - 3.0)
        if number < 4:
            study.tell(trial, [float(number), float("inf")])
        elif number == 4:
            study.tell(trial, state=TrialState.PRUNED)
    step = other.ask({"x": IntDistribution(0, 3), "w": FloatDistribution(0, 1)})
    step.report(0.5, 1)
    other.tell(step, 1.0)
    other.ask({"v": CategoricalDistribution((True, False))})
    for name in ("s", "o"):
        plain = optuna.load_study(study_name=name, storage=RDBStorage(url)).get_trials()
        quick = optuna.load_study(study_name=name, storage=open_storage(url)).get_trials()
        assert quick == plain
        assert [list(t.params) for t in quick] == [list(t.params) for t in plain]
        assert [t.constraints for t in quick] == [t.constraints for t in plain]
