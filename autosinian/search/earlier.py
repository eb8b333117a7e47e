"""What other studies have found, as plain data to begin from: `--seed-from STUDY`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON
from autosinian.search.storage import (
    SPACE_ATTRIBUTE,
    VERSIONS_ATTRIBUTE,
    load_study,
    open_storage,
    storage_url,
)
from autosinian.space.candidate import Candidate
from autosinian.space.rules import Metric
from autosinian.space.space import Space
from autosinian.store.patience import Patience

NETWORK_KEYS = ("supernet_sha256", "network_sha256")


@dataclass(frozen=True)
class Earlier:
    """One finished trial of an earlier study.

    `evaluation` is None for a candidate that failed, `reason` says why it is infeasible (empty
    where it is not, by that study's constraints). `network` is the SHA-256 of the supernet or the
    fixed network, `device` what its performance was measured on; figures of one `study` are
    comparable with each other, those of another device only in their order.
    """

    study: str
    number: int
    candidate: Candidate
    evaluation: Evaluation | None
    reason: str
    network: str
    device: str

    @property
    def metrics(self) -> Mapping[str, float]:
        """Measured figures by metric name, as in `Evaluation.metrics`; empty where it failed."""
        return self.evaluation.metrics if self.evaluation else {}


def read_earlier(
    name: str, url: str | None = None, patience: Patience | None = None
) -> tuple[Earlier, ...]:
    """All finished trials of one study, by number. `url` is its storage, `studies/NAME.db` if None;
    `patience` says how long a database that is away is waited for.

    Raises `InputError` where there is no such study.
    """
    return _finished(load_study(name, url, patience))


def find_earlier(name: str, url: str) -> tuple[Earlier, ...]:
    """Those of a study that is in the storage `url`, or else in its own file.

    Raises `InputError` where it is in neither.
    """
    there = name in optuna.get_all_study_names(open_storage(url))
    return read_earlier(name, url if there else storage_url(name, None))


def read_all_earlier(
    url: str,
    network: str,
    *,
    but: str,
    seed_from: str | None = None,
    patience: Patience | None = None,
) -> tuple[Earlier, ...]:
    """Those of every study in the storage `url` whose network has this SHA-256, except study `but`.

    With `seed_from` that study's come first, whatever its network; it is looked for in `url`, then
    in its own file. Raises `InputError` where `seed_from` is in neither.
    """
    found: list[Earlier] = []
    storage = open_storage(url, patience=patience)
    names = optuna.get_all_study_names(storage)
    if seed_from is not None:
        found += read_earlier(
            seed_from, url if seed_from in names else storage_url(seed_from, None), patience
        )
    for name in names:
        if name in (but, seed_from):
            continue
        study = optuna.load_study(study_name=name, storage=storage)
        if _network(study) == network:
            found += _finished(study)
    return tuple(found)


def candidates_to_try(
    earlier: Sequence[Earlier], space: Space, metrics: Sequence[Metric], *, most: int
) -> list[Candidate]:
    """The candidates to measure first in `space`: each study's Pareto front, then the next front.

    Each is the nearest that `space` has. Fronts are taken within a study, since another device's
    figures compare only with each other; at most `most`, the studies in turn, no candidate twice.
    """
    queues = []
    for study in dict.fromkeys(e.study for e in earlier):
        known = [
            e
            for e in earlier
            if e.study == study and not e.reason and all(str(m) in e.metrics for m in metrics)
        ]
        queues.append(_by_fronts(known, metrics))
    found: dict[str, Candidate] = {}
    while len(found) < most and any(queues):
        for queue in filter(None, queues):
            entry = queue.pop(0)
            try:
                near = space.decode(space.encode(entry.candidate))
            except KeyError:
                continue  # of another family: it has no value for some dimension
            if len(found) < most:
                found.setdefault(near.key, near)
    return list(found.values())


def _finished(study: optuna.Study) -> tuple[Earlier, ...]:
    network = _network(study)
    device = str(study.user_attrs.get(VERSIONS_ATTRIBUTE, {}).get("device", ""))
    return tuple(
        _earlier(trial, study.study_name, network, device)
        for trial in study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
        )
        if CANDIDATE in trial.user_attrs
    )


def _earlier(trial: FrozenTrial, study: str, network: str, device: str) -> Earlier:
    evaluation = trial.user_attrs.get(EVALUATION)
    return Earlier(
        study=study,
        number=trial.number,
        candidate=Candidate.from_dict(trial.user_attrs[CANDIDATE]),
        evaluation=Evaluation.from_dict(evaluation) if evaluation else None,
        reason=str(trial.user_attrs.get(REASON, "")),
        network=network,
        device=device,
    )


def _network(study: optuna.Study) -> str:
    fingerprint = study.user_attrs.get(SPACE_ATTRIBUTE, {})
    return next((str(fingerprint[key]) for key in NETWORK_KEYS if key in fingerprint), "")


def _by_fronts(entries: list[Earlier], metrics: Sequence[Metric]) -> list[Earlier]:
    left, ordered = list(entries), []
    while left:
        front = [e for e in left if not any(_beats(o, e, metrics) for o in left)]
        ordered += front
        left = [e for e in left if e not in front]
    return ordered


def _beats(other: Earlier, entry: Earlier, metrics: Sequence[Metric]) -> bool:
    differences = [
        (other.metrics[str(m)] - entry.metrics[str(m)]) * (1 if m.maximized else -1)
        for m in metrics
    ]
    return min(differences) >= 0 and max(differences) > 0
