"""Studies over a small supernet in a real SQLite file, with figures made up by a formula."""

from collections.abc import Sequence
from pathlib import Path

import optuna

from autosinian.evaluate.evaluation import Evaluation
from autosinian.measure.measurement import Measurement
from autosinian.search.judge import Judge
from autosinian.search.outcome import CANDIDATE, EVALUATION, REASON
from autosinian.search.parameters import distributions
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import BASELINE_ATTRIBUTE, open_storage, open_study
from autosinian.space.candidate import Candidate
from autosinian.space.space import Space
from autosinian.store import Store


def url_of(folder: Path) -> str:
    """A study database in a folder."""
    return f"sqlite:///{folder / 'study.db'}"


def open_small_study(
    space: Space,
    folder: Path,
    *,
    name: str = "study",
    first: Sequence[Candidate] = (),
    seed: int = 0,
    kind: str = "joint",
) -> tuple[optuna.Study, Store]:
    """The study and the store of a space, as a search opens them."""
    url = url_of(folder)
    storage = open_storage(url)
    store = Store(url, name)
    sampler = DistinctSampler(space, store, first, seed=seed, kind=kind)
    return open_study(name, storage, sampler, space.document, space.fingerprint()), store


def ask(study: optuna.Study, space: Space) -> tuple[optuna.Trial, Candidate]:
    """The next trial and its candidate."""
    trial = study.ask(distributions(space))
    return trial, space.decode(trial.params)


def evaluation(accuracy: float, rate: float, *, valid: bool = True) -> Evaluation:
    """A complete evaluation of these figures."""
    reason = "" if valid else "too few queries"
    measured = Measurement(
        "Offline", "PerformanceOnly", valid, invalid_reason=reason, samples_per_second=rate
    )
    metrics = {"accuracy": accuracy, "Offline.samples_per_second": rate, "macs": 1e6}
    return Evaluation(metrics, complete=True, measurements=(measured,), overhead_s=1.0)


def figures(candidate: Candidate) -> Evaluation:
    """Larger networks are more accurate, smaller ones and larger batches faster."""
    size = sum(candidate.subnet.d) * sum(candidate.subnet.e) + sum(candidate.subnet.ks)
    rate = 1e5 * candidate.engine.batch_size**0.3 / size
    rate *= 2.0 if candidate.quantization.precision == "int8" else 1.0
    return evaluation(1.0 - 1.0 / (1.0 + 0.1 * size), rate)


def keep_baseline(study: optuna.Study, space: Space, measured: Evaluation) -> None:
    """Record the baseline as a search does."""
    value = {"candidate": space.baseline().to_dict(), "evaluation": measured.to_dict()}
    study.set_user_attr(BASELINE_ATTRIBUTE, value)


def tell(
    study: optuna.Study,
    trial: optuna.Trial,
    candidate: Candidate,
    measured: Evaluation,
    judge: Judge,
) -> None:
    """Record a measured trial as a search does."""
    trial.set_user_attr(CANDIDATE, candidate.to_dict())
    trial.set_user_attr(EVALUATION, measured.to_dict())
    trial.set_user_attr(REASON, judge.reason(measured))
    for text, violation in judge.violations(measured).items():
        trial.set_constraint(text, violation)
    study.tell(trial, judge.values(measured))
