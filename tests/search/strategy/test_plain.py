"""What is computed quickly proposes what the plain way would."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection

from autosinian.search.strategy.joint import JointSampler
from tests.search.strategy import plain
from tests.search.strategy.problems import GATES, SPACE, figures

TRIALS = 24


def proposed(seed: int, directions: list[StudyDirection]) -> list[Mapping[str, Any]]:
    study = optuna.create_study(
        directions=directions,
        sampler=JointSampler(seed=seed, search_space=SPACE, gates=GATES),
    )
    for _ in range(TRIALS):
        trial = study.ask(SPACE)
        study.tell(trial, list(figures(trial.params))[: len(directions)])
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("objectives", [1, 2])
def test_proposals_are_those_of_the_plain_way(
    seed: int, objectives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][:objectives]
    quick = proposed(seed, directions)
    room = "autosinian.search.strategy"
    for module in ("front", "screen", "acquisition"):
        monkeypatch.setattr(f"{room}.{module}.is_on_front", plain.is_on_front)
    for module in ("screen", "predictors"):
        monkeypatch.setattr(f"{room}.{module}.ranks", plain.ranks)
    monkeypatch.setattr(f"{room}.process.Process.predict", plain.predict)
    monkeypatch.setattr(f"{room}.process.Process.held_back", plain.held_back)
    assert proposed(seed, directions) == quick
    assert len({str(sorted(values.items())) for values in quick}) == len(quick)
    assert np.isfinite([figures(values) for values in quick]).all()
