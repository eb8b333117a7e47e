"""What the Optuna dashboard shows of a study: notes, plots and files."""

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.trial import FrozenTrial, Trial
from optuna_dashboard import save_note, save_plotly_graph_object
from optuna_dashboard.artifact import get_artifact_path

from autosinian.errors import InputError, Unavailable
from autosinian.report.markdown import study_note, trial_note
from autosinian.report.plots import history_figure, pareto_figure
from autosinian.search.outcome import Outcome, Record
from autosinian.space.candidate import Candidate

PLAIN = ("mlperf_log_summary.txt", "mlperf_log_detail.txt")
NET_CONFIG = "net.config"
PAGE_EVERY_S = 15.0
PLAIN_LIMIT = 1 << 20
ZIPPED_LIMIT = 32 << 20
"""Bytes of one file: larger ones are named in the note and stay where they are."""


def artifact_store(folder: Path) -> FileSystemArtifactStore:
    """The artifacts of the study whose work folder this is: `folder/artifacts`."""
    base = folder / "artifacts"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`{base}` must be a folder that can be written: {error}; make room, or run elsewhere"
        ) from error
    return FileSystemArtifactStore(base)


def attach_files(
    study: optuna.Study,
    trial: Trial | FrozenTrial,
    candidate: Candidate | None,
    folder: Path,
    artifacts: FileSystemArtifactStore,
) -> None:
    """Attach the files of `folder/runs/trial-NNNNN*`, unless the trial has some already.

    They are LoadGen's summaries and detail logs, `net.config`, and everything together as
    `logs.zip`; `candidate.json` comes with them. Best called before the trial is told: Optuna
    keeps a running trial's files at the trial itself. Raises `Unavailable` where the disk is full.
    """
    if _attached(study, trial):
        return
    try:
        for name, content in _files(folder, trial.number, candidate):
            _attach(study, trial, name, content, artifacts)
    except OSError as error:
        raise Unavailable(
            f"a trial's files must be kept in `{folder}`, but {error}; free space and run the "
            "same command again"
        ) from error


def annotate_trial(
    study: optuna.Study,
    trial: Trial | FrozenTrial,
    record: Record,
    reference: Mapping[str, float],
    folder: Path,
    artifacts: FileSystemArtifactStore,
) -> None:
    """Write a finished trial's note, and attach its files if that was not done.

    `reference` is the baseline's figures by metric name, empty before it is measured.
    """
    attach_files(study, trial, record.candidate, folder, artifacts)
    known = _attached(study, trial)
    # `save_note` wants a trial that knows its study, which a frozen one does not.
    live = trial if isinstance(trial, Trial) else Trial(study, trial._trial_id)
    links = {name: get_artifact_path(live, artifact) for name, artifact in sorted(known.items())}
    save_note(live, trial_note(record, reference, links))


class StudyPage:
    """Keeps a study's note and plots up to date, taking at most 2 % of the time for it."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._due = time.monotonic()

    def update(self, outcome: Outcome, *, now: bool = False) -> None:
        """Write them anew where that is due, or `now`."""
        start = time.monotonic()
        if now or start >= self._due:
            annotate_study(self._study, outcome)
            end = time.monotonic()
            self._due = end + max(PAGE_EVERY_S, 50 * (end - start))


def annotate_study(study: optuna.Study, outcome: Outcome) -> None:
    """Write the study's note and draw its plots anew."""
    import plotly.graph_objects as go

    save_note(study, study_note(outcome))
    save_plotly_graph_object(study, go.Figure(pareto_figure(outcome)), graph_object_id="pareto")
    history = go.Figure(history_figure(outcome, "seconds"))
    save_plotly_graph_object(study, history, graph_object_id="history")


def _files(folder: Path, number: int, candidate: Candidate | None) -> list[tuple[str, bytes]]:
    runs = sorted((folder / "runs").glob(f"trial-{number:05d}*"))
    paths = sorted(path for run in runs for path in run.rglob("*") if path.is_file())
    found = []
    if candidate is not None:
        text = json.dumps(candidate.to_dict(), indent=2) + "\n"
        found.append(("candidate.json", text.encode()))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            if path.stat().st_size <= ZIPPED_LIMIT:
                archive.write(path, path.relative_to(folder / "runs").as_posix())
    for path in paths:
        # A Server search keeps each probed rate in a folder of its own: those are in the archive.
        plain = path.name in PLAIN and not path.parent.name.startswith("probe")
        if path.name == NET_CONFIG:
            found.append((NET_CONFIG, path.read_bytes()))
        elif plain and path.stat().st_size <= PLAIN_LIMIT:
            part = path.name.removeprefix("mlperf_log_")
            found.append((f"{path.parent.name}-{part}", path.read_bytes()))
    if paths:
        found.append(("logs.zip", zipped.getvalue()))
    return found


def _key(trial: Trial | FrozenTrial) -> str:
    """Where the dashboard looks for files that were attached after a trial's end.

    Optuna freezes a finished trial's attributes, so those are kept at the study.
    """
    return f"dashboard:artifacts:{trial._trial_id}:"


def _attached(study: optuna.Study, trial: Trial | FrozenTrial) -> dict[str, str]:
    """Artifact ids by file name."""
    attributes = dict(study._storage.get_study_system_attrs(study._study_id))
    mine = {k: v for k, v in attributes.items() if k.startswith(_key(trial))}
    mine |= {
        k: v
        for k, v in study._storage.get_trial_system_attrs(trial._trial_id).items()
        if k.startswith("artifacts:")
    }
    found = [json.loads(value) for value in mine.values()]
    return {meta["filename"]: meta["artifact_id"] for meta in found if meta is not None}


def _attach(
    study: optuna.Study,
    trial: Trial | FrozenTrial,
    name: str,
    content: bytes,
    artifacts: FileSystemArtifactStore,
) -> str:
    kinds = {".txt": "text/plain", ".json": "application/json", ".zip": "application/zip"}
    mimetype = kinds.get(Path(name).suffix, "text/plain" if name == NET_CONFIG else "")
    meta = ArtifactMeta(str(uuid4()), name, mimetype or "application/octet-stream", None)
    # The file first: a killed process leaves at most a file that nothing names.
    artifacts.write(meta.artifact_id, io.BytesIO(content))
    value = json.dumps(asdict(meta))
    storage = study._storage
    if storage.get_trial(trial._trial_id).state.is_finished():
        storage.set_study_system_attr(study._study_id, _key(trial) + meta.artifact_id, value)
    else:
        storage.set_trial_system_attr(trial._trial_id, f"artifacts:{meta.artifact_id}", value)
    return meta.artifact_id
