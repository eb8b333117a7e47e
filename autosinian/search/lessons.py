"""What the joint strategy learns from: other studies' trials, and how a trial's work divides."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from autosinian.search.earlier import Earlier
from autosinian.search.outcome import EVALUATION
from autosinian.search.parameters import distributions
from autosinian.search.strategy.cost import Stages
from autosinian.space.space import Space


def earlier_trials(earlier: Sequence[Earlier], space: Space) -> list[list[FrozenTrial]]:
    """For each study, its trials as ones of this space; those without the figures are left out.

    Parameters are the nearest that the space has. Constraints are not told: they may be others.
    """
    dimensions = distributions(space)
    metrics = [str(metric) for metric in space.document.metrics]
    found: dict[str, list[FrozenTrial]] = {}
    for entry in earlier:
        if any(name not in entry.metrics for name in metrics):
            continue
        try:
            params = space.encode(entry.candidate)
        except KeyError:
            continue  # of another family: it has no value for some dimension
        found.setdefault(entry.study, []).append(
            optuna.trial.create_trial(
                params=params,
                distributions=dimensions,
                values=[float(entry.metrics[name]) for name in metrics],
            )
        )
    return list(found.values())


def stages_of(space: Space, rebuilt: Sequence[str]) -> Stages:
    """The stages of a trial under the names that an `Evaluation` times them by."""

    def keys(values: Mapping[str, Any]) -> Mapping[str, Hashable | None]:
        candidate = space.decode(values)
        model = (candidate.subnet.key, candidate.quantization)
        options = tuple((n, v) for n, v in candidate.engine.options if n in rebuilt)
        found: dict[str, Hashable | None] = {
            "extract": candidate.subnet.key,
            "quantize": model,
            "build": (model, candidate.engine.batch_size, options),
            "accuracy": model,
        }
        return found | {f"performance {s}": None for s in space.document.scenarios}

    def seconds(trial: FrozenTrial) -> Mapping[str, float]:
        evaluation = trial.user_attrs.get(EVALUATION) or {}
        return dict(evaluation.get("stage_s", {}))

    return Stages(keys, seconds)
