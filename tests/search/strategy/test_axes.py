import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autosinian.search.strategy.axes import Axes, Gate, infer_gates
from tests.search.strategy.problems import GATES, SPACE

MIXED: dict[str, BaseDistribution] = {
    "a": IntDistribution(1, 1_000_000, log=True),
    "b": FloatDistribution(0.0, 2.0, step=0.5),
    "c": CategoricalDistribution((True, 1, "x", None)),
    "d": FloatDistribution(1e-3, 1e3, log=True),
    "e": CategoricalDistribution((224, 128, 160)),
}


def test_points_decode_to_what_they_encode() -> None:
    axes = Axes(MIXED)
    for point in axes.canonical(axes.uniform(np.random.default_rng(0), 50)):
        values = axes.decode(point)
        again = axes.decode(axes.encode(values))
        assert {k: v for k, v in again.items() if k != "d"} == {
            k: v for k, v in values.items() if k != "d"
        }
        assert np.isclose(again["d"], values["d"])
        assert type(again["c"]) is type(values["c"])


def test_numbers_are_ordered_and_words_are_not() -> None:
    axes = Axes(MIXED)
    assert [axis.ordered for axis in axes.axes] == [True, True, False, True, True]
    assert axes.axes[4].values == (128, 160, 224)


def test_what_a_gate_closes_changes_no_feature() -> None:
    axes = Axes(SPACE, GATES)
    low = {axis.name: axis.decode(0.0) for axis in axes.axes}
    other = low | {"kernel_size_1": 7, "expand_ratio_1": 6}
    assert low["depth_0"] == 1
    assert np.array_equal(axes.encode(low), axes.encode(other))
    deep = [axes.encode(values | {"depth_0": 2}) for values in (low, other)]
    assert not np.array_equal(axes.features(deep[0][None]), axes.features(deep[1][None]))


def test_likes_are_families_and_the_rest_have_no_kin() -> None:
    axes = Axes(SPACE, GATES)
    names = [{axes.axes[i].name.rstrip("0123456789") for i in f} for f in axes.families]
    assert names == [{"depth_"}, {"kernel_size_"}, {"expand_ratio_"}]
    assert (axes.kinds == 1).sum() == len(SPACE) - 25


def test_a_gate_is_read_from_what_trials_lack() -> None:
    space: dict[str, BaseDistribution] = {
        "kind": CategoricalDistribution(("a", "b", "c")),
        "size": IntDistribution(0, 9),
        "depth": IntDistribution(0, 3),
    }
    trials = [
        {"kind": "a", "size": 1},
        {"kind": "b", "size": 2, "depth": 1},
        {"kind": "c", "size": 1, "depth": 2},
        {"kind": "a", "size": 2},
    ]
    assert infer_gates(space, trials) == {"depth": Gate("kind", ("b", "c"))}
