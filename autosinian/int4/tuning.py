"""The search for the best kernel configuration of each layer; knows no GPU.

Layers are measured by themselves first, equal shapes once, in rounds: one configuration of each
tile, then the neighbours of the best tiles (`promising.next_round`). Then the joint network
is measured with the best few of each shape exchanged, as neighbours share caches and a layer's own
time is not all it costs.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from autosinian.int4.configurations import Configuration, valid_configurations
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.promising import (
    candidates,
    first_round,
    nearest_configuration,
    next_round,
    rough_cost,
)

STOP_FACTOR = 3.0
"""A candidate this many times slower than the best so far is not measured to the end."""

_ROUNDS = 3
_LEADING_TILES = 2
_WORTH = 0.998
_SHARE_OF_SHAPES = 4


class LayerTimer(Protocol):
    """Measures configurations of single layers."""

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Begin to compile, in this order, in parallel where possible."""
        ...

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """Time of one launch; infinity if it cannot run or is above `stop_above`."""
        ...


@dataclass(frozen=True)
class Timed:
    """A configuration and the seconds of one launch."""

    configuration: Configuration
    seconds: float


Ranking = Mapping[LayerShape, tuple[Timed, ...]]
"""For each shape what was measured, fastest first; what could not run or was stopped is left out.
A chained configuration has its time less the follower's best, so that all compare alike.
"""


def rank_layers(
    shapes: Sequence[LayerShape],
    batch: int,
    shared_limit: int,
    timer: LayerTimer,
    time_limit_s: float = math.inf,
    tell: Callable[[int, int, int], None] = lambda round_number, done, total: None,
) -> Ranking:
    """Measure candidates for each distinct shape, most promising first, within the limit.

    One that runs of each shape is measured whatever the limit. `tell` hears the number of the
    round, measurements done and measurements in it.
    """
    end = time.monotonic() + time_limit_s
    distinct = tuple(dict.fromkeys(shapes))
    legal = {shape: candidates(shape, batch, shared_limit) for shape in distinct}
    found: dict[LayerShape, dict[Configuration, float]] = {shape: {} for shape in distinct}
    for number in range(_ROUNDS):
        queues = []
        for shape in distinct:
            chosen = (
                sorted(
                    first_round(legal[shape], shape),
                    key=lambda choice: rough_cost(choice, shape, batch),
                )
                if number == 0
                else next_round(
                    legal[shape],
                    [entry.configuration for entry in _sorted(_beyond_follower(shape, found))],
                    _LEADING_TILES if number == 1 else 1,
                )
            )
            queues.append([(shape, choice) for choice in chosen if choice not in found[shape]])
        # Every shape's most promising first, as the limit may cut a round short.
        wanted = [pair for row in zip_longest(*queues) for pair in row if pair is not None]
        timer.prepare(wanted)
        for done, (shape, choice) in enumerate(wanted):
            if time.monotonic() > end and _sorted(found[shape]):
                continue
            tell(number + 1, done, len(wanted))
            best = min(
                (spent for other, spent in found[shape].items() if other.chained == choice.chained),
                default=math.inf,
            )
            found[shape][choice] = timer.seconds(shape, choice, best * STOP_FACTOR)
        if time.monotonic() > end:
            timer.prepare(())
            break
    return {shape: _sorted(_beyond_follower(shape, found)) for shape in distinct}


def _beyond_follower(
    shape: LayerShape, found: Mapping[LayerShape, Mapping[Configuration, float]]
) -> dict[Configuration, float]:
    """Times of a shape, those of chained configurations less the follower's own best."""
    saved = 0.0
    if shape.follower is not None:
        saved = min(found.get(shape.follower, {}).values(), default=0.0)
    return {
        choice: max(spent - saved, 1e-9) if choice.chained else spent
        for choice, spent in found[shape].items()
    }


def _sorted(times: Mapping[Configuration, float]) -> tuple[Timed, ...]:
    entries = [Timed(choice, spent) for choice, spent in times.items() if math.isfinite(spent)]
    return tuple(sorted(entries, key=lambda entry: (entry.seconds, entry.configuration.id)))


def best_choices(layers: Mapping[str, LayerShape], ranking: Ranking) -> dict[str, Configuration]:
    """Each layer's fastest configuration."""
    return {
        name: ranking[shape][0].configuration for name, shape in layers.items() if ranking[shape]
    }


@dataclass(frozen=True)
class Single:
    """One configuration for all layers: what each runs, the same or what is nearest to it.

    `replaced` are the launches that it does not fit; `estimate` the seconds of all launches.
    """

    configuration: Configuration
    choices: Mapping[str, Configuration]
    replaced: tuple[str, ...]
    estimate: float


def single_configurations(
    layers: Mapping[str, LayerShape], ranking: Ranking, shared_limit: int
) -> list[Single]:
    """What was measured on a quarter of the shapes as the only one, least total time first.

    What was not measured is taken to be as far from its shape's best as the configuration is
    elsewhere.
    """
    times = {
        shape: {entry.configuration: entry.seconds for entry in entries}
        for shape, entries in ranking.items()
        if entries
    }
    counts = Counter(choice for of_shape in times.values() for choice in of_shape)
    measured = [
        choice
        for choice, count in counts.items()
        if _SHARE_OF_SHAPES * count >= len(times) and not choice.chained
    ]
    fitting = {shape: valid_configurations(shape, shared_limit) for shape in times}
    found = []
    for choice in sorted(measured, key=lambda choice: choice.id):
        factors = [
            of_shape[choice] / min(of_shape.values())
            for of_shape in times.values()
            if choice in of_shape
        ]
        factor = sum(factors) / len(factors)
        nearest = {shape: nearest_configuration(choice, fitting[shape]) for shape in times}
        choices = {name: nearest[shape] for name, shape in layers.items() if shape in nearest}
        found.append(
            Single(
                choice,
                choices,
                tuple(name for name, used in choices.items() if used != choice),
                sum(
                    times[shape].get(nearest[shape], factor * min(times[shape].values()))
                    for shape in layers.values()
                    if shape in times
                ),
            )
        )
    return sorted(found, key=lambda single: (single.estimate, single.configuration.id))


def exchange_jointly(
    layers: Mapping[str, LayerShape],
    ranking: Ranking,
    network_seconds: Callable[[Mapping[str, Configuration]], float],
    top: int = 3,
    time_limit_s: float = math.inf,
    tell: Callable[[float, int], None] = lambda seconds, tried: None,
) -> tuple[dict[str, Configuration], float]:
    """Exchange configurations while the whole network gets faster; returns them and its seconds.

    Starts with every layer's fastest. Each sweep tries, for each shape in order of the time its
    layers take, the next of its `top` for all layers of that shape; what does not gain more than
    measurements differ (0.2 %) is not kept. Ends after a sweep without a gain, or at the limit.
    """
    end = time.monotonic() + time_limit_s
    choices = best_choices(layers, ranking)
    best = network_seconds(choices)
    weight: dict[LayerShape, float] = {}
    for shape in layers.values():
        if ranking[shape]:
            weight[shape] = weight.get(shape, 0.0) + ranking[shape][0].seconds
    order = sorted(weight, key=lambda shape: (-weight[shape], shape.text))
    tried = 1
    gained = True
    while gained:
        gained = False
        for shape in order:
            names = [name for name, other in layers.items() if other == shape]
            for entry in ranking[shape][:top]:
                if choices[names[0]] == entry.configuration:
                    continue
                if time.monotonic() > end:
                    return choices, best
                changed = choices | dict.fromkeys(names, entry.configuration)
                spent = network_seconds(changed)
                tried += 1
                if spent < best * _WORTH:
                    choices, best, gained = changed, spent, True
                tell(best, tried)
    return choices, best
