"""What each gene is worth, found from trials whose figures follow a known rule."""

import random
from dataclasses import replace

import pytest

from autosinian.evaluate.evaluation import Evaluation
from autosinian.report.html import report_html
from autosinian.report.importance import LEAST_TRIALS, importance
from autosinian.search.noise import Noise
from autosinian.search.outcome import Outcome, Record
from autosinian.space.candidate import EngineConfig
from tests.report.example_study import SPEED, candidate, make_outcome


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return make_outcome(tmp_path_factory.mktemp("study"), trials=2)


def with_trials(example: Outcome, count: int, *, noise: float = 0.0, seed: int = 1) -> Outcome:
    """Trials whose accuracy is the resolution's and whose speed is the batch size's alone."""
    rng = random.Random(seed)
    records = []
    for number in range(count):
        one = candidate(rng)
        one = replace(one, engine=EngineConfig.make("openvino", rng.randint(1, 64), streams=1))
        metrics = {
            "accuracy": one.subnet.resolution / 100 + rng.gauss(0, noise),
            SPEED: 1000.0 / one.engine.batch_size,
        }
        evaluation = Evaluation(metrics, complete=True)
        records.append(Record(number, "measured", one, evaluation, {}, "", 1.0, float(number)))
    return replace(example, records=tuple(records))


def test_the_gene_that_decides_is_found_and_no_other(example: Outcome) -> None:
    outcome = with_trials(example, 120)
    found = importance(outcome, "accuracy")
    assert found is not None and found.trusted
    assert next(iter(found.worth)) == "resolution"
    assert found.worth["resolution"] > 0.9
    assert max(v for name, v in found.worth.items() if name != "resolution") < 0.05
    assert found.slope["resolution"] == 1
    speed = importance(outcome, SPEED)
    assert speed is not None
    assert next(iter(speed.worth)) == "batch size"
    assert speed.slope["batch size"] == -1
    assert speed.slope["precision"] == 0
    assert speed.explained > 0.95


def test_figures_that_follow_nothing_are_not_believed(example: Outcome) -> None:
    found = importance(with_trials(example, 60, noise=5.0), "accuracy")
    assert found is not None and not found.trusted
    speed = importance(with_trials(example, 60, noise=5.0), SPEED)
    assert speed is not None and speed.trusted
    assert "not known" in report_html(with_trials(example, 60, noise=5.0))


def test_few_trials_say_nothing(example: Outcome) -> None:
    assert importance(with_trials(example, LEAST_TRIALS - 1), "accuracy") is None
    assert importance(with_trials(example, LEAST_TRIALS), "absent") is None


def test_a_figure_that_never_changes_has_no_importance(example: Outcome) -> None:
    outcome = with_trials(example, 30)
    same = [
        replace(r, evaluation=Evaluation({"accuracy": 0.5}, complete=True)) for r in outcome.records
    ]
    assert importance(replace(outcome, records=tuple(same)), "accuracy") is None


def test_the_page_shows_noise_predictors_and_importance(example: Outcome) -> None:
    outcome = replace(
        with_trials(example, 60),
        noise=(Noise(SPEED, (100.0, 102.0, 98.0)),),
        predictors={
            "accuracy": {"rank_correlation": 0.91, "trials": 60},
            SPEED: {"rank_correlation": 0.4, "trials": 60},
        },
    )
    page = report_html(outcome)
    assert "2.00 %" in page
    assert "ranks well" in page
    assert "its order is followed little" in page
    assert ">resolution</td>" in page
    bare = report_html(example)
    assert "The sampler used no predictors." in bare
    assert "Too few trials were measured to tell" in bare
    assert "not measured often enough to tell the noise" in bare
