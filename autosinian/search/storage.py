"""Opening a study: where it lives, and whether it is a study of this very space."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from autosinian.content import canonical_json
from autosinian.errors import InputError
from autosinian.search.study_storage import StudyStorage
from autosinian.space.document import Document
from autosinian.store.database import Database, storage_error
from autosinian.store.patience import Patience

SHOWN_LENGTH = 60
STUDIES = Path("studies")
SPACE_ATTRIBUTE = "autosinian:space"
DOCUMENT_ATTRIBUTE = "autosinian:document"
BASELINE_ATTRIBUTE = "autosinian:baseline"
SEED_ATTRIBUTE = "autosinian:seed"
VERSIONS_ATTRIBUTE = "autosinian:versions"

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)


def storage_url(name: str, url: str | None) -> str:
    """The given SQLAlchemy URL, or the SQLite file `studies/NAME.db`."""
    return url if url is not None else f"sqlite:///{STUDIES / name}.db"


def work_folder(name: str) -> Path:
    """Where a study keeps its models, engines, logs and artifacts."""
    return STUDIES / name


def open_storage(
    url: str,
    *,
    must_exist: bool = False,
    patience: Patience | None = None,
    database: Database | None = None,
) -> StudyStorage:
    """Connect to a study database; one that is away later on is waited for as `patience` says.

    With `database` its connections and its patience are used. Raises `InputError` where it cannot
    be opened or written.
    """
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if must_exist and not path.exists():
            raise InputError(
                f"the study's database must exist, but there is no `{path}`; run "
                "`autosinian search` first, or name another with `--storage`"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(url, error) from error
    try:
        return StudyStorage(database or Database(url, patience))
    except (SQLAlchemyError, RuntimeError, OSError) as error:
        raise storage_error(url, error) from error


@contextmanager
def storage_failures_told(url: str) -> Iterator[None]:
    """Make `InputError` of what optuna and the system raise when a study cannot be written."""
    try:
        yield
    except SQLAlchemyError as error:
        raise storage_error(url, error) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"a search must be able to read and write its files, but: {error}; free space or "
            "restore the file, then run the same command again"
        ) from error


def open_study(
    name: str,
    storage: StudyStorage,
    sampler: BaseSampler | None,
    document: Document,
    fingerprint: dict[str, Any],
) -> optuna.Study:
    """Create a study, or open it again if it is of the same space.

    Raises `InputError` naming what differs where the study is of another space.
    """
    metrics = document.metrics
    directions = [
        StudyDirection.MAXIMIZE if metric.maximized else StudyDirection.MINIMIZE
        for metric in metrics
    ]
    try:
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
    except (SQLAlchemyError, ValueError) as error:
        raise storage_error(str(storage.url), error) from error
    known = study.user_attrs.get(SPACE_ATTRIBUTE)
    if known is None:
        if study.get_trials(deepcopy=False) or study.directions != directions:
            raise InputError(
                f"study `{name}` in this storage was not made by `autosinian search`; "
                "choose another name with `--study`"
            )
        study.set_user_attr(SPACE_ATTRIBUTE, fingerprint)
        study.set_user_attr(DOCUMENT_ATTRIBUTE, document.model_dump(mode="json"))
        study.set_metric_names([str(metric) for metric in metrics])
    elif canonical_json(known) != canonical_json(fingerprint):
        found = differences(known, fingerprint)
        hint = ", or judge the stored figures anew with `--new-constraints`"
        raise InputError(
            f"study `{name}` is of another space: {'; '.join(found)}; choose another name with "
            "`--study`, or restore the search space file"
            f"{hint if all(text.startswith('`constraints`') for text in found) else ''}"
        )
    return study


def differences(known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints of spaces, in words, entry by entry."""
    before, now = dict(_flat(known)), dict(_flat(given))
    names = [n for n in dict.fromkeys((*before, *now)) if before.get(n) != now.get(n)]
    if len(names) > 1:
        # A hash that follows from the others.
        names = [n for n in names if n != "dimensions"]
    return [f"`{n}` was {_shown(before.get(n))}, is {_shown(now.get(n))}" for n in names]


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{path}{name}.")
        else:
            yield f"{path}{name}", entry


def _shown(value: Any) -> str:
    text = "not there" if value is None else canonical_json(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def load_study(name: str, url: str | None, patience: Patience | None = None) -> optuna.Study:
    """Open a finished or running study for reading. Raises `InputError` where there is none."""
    resolved = storage_url(name, url)
    storage = open_storage(resolved, must_exist=True, patience=patience)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(optuna.get_all_study_names(storage)) or "none"
        raise InputError(f"no study `{name}` in this storage (it has: {names})") from error
    if SPACE_ATTRIBUTE not in study.user_attrs:
        raise InputError(f"study `{name}` was not made by `autosinian search`")
    return study
