"""Kernel ids of all layers, batch size and streams searched together as an Optuna study.

A parameter for each distinct shape has the best few ids measured for it by itself; equal shapes
share one, as what interacts are neighbours in time, not names. The study starts with the tuner's
own result at every batch size, so that it can only find better ones. optuna is imported when a
search begins.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autosinian.errors import InputError
from autosinian.int4.configurations import Configuration, configuration
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.tuning import Ranking

if TYPE_CHECKING:
    import optuna

Measure = Callable[[Mapping[str, Configuration], int, int], float]
"""Images/s of (configurations by launch, batch size, streams)."""

_IDS_A_SHAPE = 4
_MOST_STREAMS = 3
KIND = "int4 kernels"


@dataclass(frozen=True)
class JointSpace:
    """`ids` and `members` (launches) by shape's text, batch sizes and numbers of streams."""

    ids: Mapping[str, tuple[int, ...]]
    members: Mapping[str, tuple[str, ...]]
    batches: tuple[int, ...]
    streams: tuple[int, ...]

    @classmethod
    def around(cls, layers: Mapping[str, LayerShape], ranking: Ranking, batch: int) -> "JointSpace":
        """The best few ids of each shape, and batch sizes from a quarter to four times `batch`."""
        shapes = dict.fromkeys(layers.values())
        texts = _distinct_texts(tuple(shapes))
        return cls(
            {
                texts[shape]: tuple(
                    entry.configuration.id for entry in ranking[shape][:_IDS_A_SHAPE]
                )
                for shape in shapes
                if ranking[shape]
            },
            {
                texts[shape]: tuple(name for name, other in layers.items() if other == shape)
                for shape in shapes
                if ranking[shape]
            },
            tuple(sorted({max(1, batch // 4), max(1, batch // 2), batch, batch * 2, batch * 4})),
            tuple(range(1, _MOST_STREAMS + 1)),
        )

    def parameters(self, choices: Mapping[str, Configuration]) -> dict[str, int]:
        """Ids by shape of configurations by launch, where the space has them."""
        found = {}
        for text, names in self.members.items():
            identity = choices[names[0]].id if names[0] in choices else self.ids[text][0]
            if identity in self.ids[text]:
                found[text] = identity
        return found

    def choices(self, ids: Mapping[str, int]) -> dict[str, Configuration]:
        """Configurations by launch of ids by shape."""
        return {
            name: configuration(ids[text]) for text, names in self.members.items() for name in names
        }


@dataclass(frozen=True)
class Best:
    """The fastest trial."""

    choices: Mapping[str, Configuration]
    batch: int
    streams: int
    images_per_second: float


def search(
    name: str,
    storage: str | None,
    space: JointSpace,
    start: Mapping[str, Configuration],
    measure: Measure,
    about: Mapping[str, str],
    trials: int,
    tell: Callable[[str], None] = lambda text: None,
) -> Best:
    """Run `trials` more trials of study `name` and give the fastest of all.

    A study of another space (other ids, GPU or versions) is refused. Raises `InputError`.
    """
    import optuna

    from autosinian.search.storage import SPACE_ATTRIBUTE, open_storage, storage_url

    study = optuna.create_study(
        study_name=name,
        storage=open_storage(storage_url(name, storage)),
        sampler=optuna.samplers.TPESampler(multivariate=True, seed=0),
        direction="maximize",
        load_if_exists=True,
    )
    fingerprint = {
        "kind": KIND,
        "ids": {text: list(ids) for text, ids in space.ids.items()},
        "batches": list(space.batches),
        "streams": list(space.streams),
        "about": dict(about),
    }
    known = study.user_attrs.get(SPACE_ATTRIBUTE)
    if known is None and not study.trials:
        study.set_user_attr(SPACE_ATTRIBUTE, fingerprint)
        study.set_metric_names(["images per second"])
        for batch in space.batches:
            study.enqueue_trial({**space.parameters(start), "batch": batch, "streams": 1})
    elif known != fingerprint:
        raise InputError(
            f"study `{name}` is of other kernels, another GPU or other versions; choose another "
            "name with `--study`"
        )

    def objective(trial: "optuna.Trial") -> float:
        ids = {
            text: int(trial.suggest_categorical(text, list(choices)))
            for text, choices in space.ids.items()
        }
        batch = int(trial.suggest_categorical("batch", list(space.batches)))
        streams = int(trial.suggest_categorical("streams", list(space.streams)))
        rate = measure(space.choices(ids), batch, streams)
        tell(f"trial {trial.number}: batch {batch}, {streams} streams, {rate:,.0f} images/s")
        return rate

    study.optimize(objective, n_trials=trials)
    best = study.best_trial
    ids = {text: int(best.params[text]) for text in space.ids}
    assert best.value is not None
    return Best(
        space.choices(ids), int(best.params["batch"]), int(best.params["streams"]), best.value
    )


def _distinct_texts(shapes: tuple[LayerShape, ...]) -> dict[LayerShape, str]:
    """Each shape's text, with the output's bits where two would be the same."""
    texts: dict[LayerShape, str] = {}
    for shape in shapes:
        text = shape.text
        if any(other.text == text and other != shape for other in shapes):
            text = f"{text} ({shape.bits} to {shape.out_bits} bits)"
        while text in texts.values():
            text += "'"
        texts[shape] = text
    return texts
