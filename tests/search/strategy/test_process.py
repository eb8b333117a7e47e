import numpy as np

from autosinian.search.strategy.axes import Axes
from autosinian.search.strategy.predictors import rank_correlation
from autosinian.search.strategy.process import Process, fit_kernel
from tests.search.strategy import plain
from tests.search.strategy.problems import GATES, SPACE, figures

AXES = Axes(SPACE, GATES)


def sample(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and logarithms of milliseconds, at mean 0 and deviation 1."""
    points = AXES.canonical(AXES.uniform(np.random.default_rng(seed), count))
    values = np.log([figures(AXES.decode(point))[1] for point in points])
    return AXES.features(points), (values - 1.7) / 0.7


def fitted(count: int) -> Process:
    features, values = sample(count, 0)
    return Process(fit_kernel(features, values, AXES.groups, AXES.kinds), features, values)


def test_sixty_trials_rank_what_was_never_seen() -> None:
    features, values = sample(300, 1)
    mean, deviation = fitted(60).predict(features)
    assert rank_correlation(mean, values) > 0.9
    inside = np.abs(values - mean) < 2 * deviation
    assert 0.8 < inside.mean() <= 1.0


def test_held_back_predictions_are_those_without_the_trial() -> None:
    process = fitted(30)
    features, values = sample(30, 0)
    alone = Process(process.kernel, features[1:], values[1:]).predict(features[:1])[0]
    assert np.allclose(process.held_back()[0], alone, atol=1e-4)


def test_predictions_are_those_of_the_equations() -> None:
    process = fitted(60)
    features, _ = sample(40, 3)
    mean, deviation = process.predict(features)
    expected = plain.predict(process, features)
    assert np.allclose(mean, expected[0], rtol=1e-12)
    assert np.allclose(deviation, expected[1], rtol=1e-9)
    assert np.allclose(process.held_back(), plain.held_back(process), rtol=1e-9)


def test_what_is_taken_as_measured_is_certain_and_as_predicted() -> None:
    process = fitted(30)
    features, _ = sample(3, 2)
    mean, deviation = process.predict(features)
    again, smaller = process.joined(features).predict(features)
    assert np.allclose(mean, again, atol=0.02)
    assert (smaller < deviation).all()
