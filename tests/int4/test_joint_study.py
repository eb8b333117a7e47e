"""The joint study starts from the tuner's result and finds better ones, in a real database."""

from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest

from autosinian.errors import InputError
from autosinian.int4.configurations import Configuration
from autosinian.int4.joint_study import JointSpace, search
from autosinian.int4.tuning import best_choices, rank_layers
from autosinian.search.storage import load_study
from tests.int4.recorded_times import BATCH, SHAPES, SHARED_BYTES, RecordedTimer

LAYERS = {f"layer{index}": shape for index, shape in enumerate((*SHAPES, *SHAPES[:2]))}
ABOUT = {"device": "H100"}


@pytest.fixture(scope="module")
def space() -> JointSpace:
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, RecordedTimer())
    return JointSpace.around(LAYERS, ranking, BATCH)


@pytest.fixture(scope="module")
def start() -> dict[str, Configuration]:
    return best_choices(LAYERS, rank_layers(SHAPES, BATCH, SHARED_BYTES, RecordedTimer()))


def rate(choices: Mapping[str, Configuration], batch: int, streams: int) -> float:
    """Recorded layer times, an overhead a batch that streams hide, and no memory for too much."""
    times = RecordedTimer().times
    spent = sum(times[LAYERS[name].text, choice.id] for name, choice in choices.items())
    return (
        batch / (spent * batch / BATCH + 40e-6 / streams) * (0.5 if batch * streams > 1024 else 1)
    )


def test_the_study_is_seeded_and_improves(
    tmp_path: Path, space: JointSpace, start: dict[str, Configuration]
) -> None:
    storage = f"sqlite:///{tmp_path / 'joint.db'}"
    best = search("joint", storage, space, start, rate, ABOUT, 12)
    assert best.images_per_second >= max(rate(start, batch, 1) for batch in space.batches)
    study = load_study("joint", storage)
    assert [trial.params["batch"] for trial in study.trials[:5]] == list(space.batches)
    assert study.trials[0].params["streams"] == 1
    again = search("joint", storage, space, start, rate, ABOUT, 3)
    assert again.images_per_second >= best.images_per_second
    assert len(load_study("joint", storage).trials) == 15


def test_a_study_of_another_gpu_is_refused(
    tmp_path: Path, space: JointSpace, start: dict[str, Configuration]
) -> None:
    storage = f"sqlite:///{tmp_path / 'joint.db'}"
    search("joint", storage, space, start, rate, ABOUT, 1)
    with pytest.raises(InputError, match="another GPU"):
        search("joint", storage, space, start, rate, {"device": "A100"}, 1)
    trials = optuna.load_study(study_name="joint", storage=storage).trials
    assert sum(trial.state.is_finished() for trial in trials) == 1


def test_shapes_of_equal_text_stay_apart() -> None:
    ranking = rank_layers(SHAPES, BATCH, SHARED_BYTES, RecordedTimer())
    twin = SHAPES[0].__class__(56, 56, 64, 4, 56, 56, 64, 8)
    space = JointSpace.around({**LAYERS, "twin": twin}, {**ranking, twin: ranking[SHAPES[0]]}, 8)
    assert len(space.ids) == len(SHAPES) + 1
