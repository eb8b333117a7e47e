import io
import json
import random
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from autosinian.errors import InputError
from autosinian.search.dashboard import (
    StudyPage,
    annotate_study,
    annotate_trial,
    artifact_store,
    attach_files,
)
from autosinian.search.outcome import read_outcome
from autosinian.search.server import Dashboard
from autosinian.search.storage import work_folder
from tests.report.example_study import add_trial, make_study

SUMMARY = "MLPerf Results Summary\nResult is : VALID\n"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path, trials=6)


@pytest.fixture
def work(study: optuna.Study) -> Path:
    """The study's work folder with the logs of its first trial."""
    folder = work_folder(study.study_name)
    logs = {
        "trial-00000/Offline-PerformanceOnly/mlperf_log_summary.txt": SUMMARY,
        "trial-00000/Offline-PerformanceOnly/mlperf_log_detail.txt": ":::MLLOG {}\n",
        "trial-00000/Server-PerformanceOnly/probe_1/mlperf_log_summary.txt": SUMMARY,
        "trial-00000/net.config": '{"name": "ProxylessNASNets"}',
        "trial-00000-accuracy/Offline-AccuracyOnly/mlperf_log_accuracy.json": "[]",
    }
    for name, text in logs.items():
        path = folder / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@contextmanager
def served(study: optuna.Study) -> Iterator[str]:
    """The dashboard's address while it runs on a free port."""
    with Dashboard(study, 0) as dashboard:
        thread = threading.Thread(target=dashboard.serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{dashboard.port}"
        finally:
            dashboard.close()
            thread.join()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as response:
        return bytes(response.read())


def fetch_trials(address: str) -> list[dict[str, Any]]:
    trials = json.loads(fetch(f"{address}/api/studies/1?after=0"))["trials"]
    assert isinstance(trials, list)
    return trials


def annotate(study: optuna.Study, number: int, folder: Path) -> None:
    outcome = read_outcome(study)
    trial = study.get_trials(deepcopy=False)[number]
    record = outcome.records[number]
    annotate_trial(study, trial, record, outcome.reference, folder, artifact_store(folder))


def test_the_dashboard_serves_notes_and_files_of_a_finished_trial(
    study: optuna.Study, work: Path
) -> None:
    annotate(study, 0, work)
    with served(study) as address:
        trial = fetch_trials(address)[0]
        assert trial["note"]["body"].startswith("**depth ")
        files = {a["filename"]: a["artifact_id"] for a in trial["artifacts"]}
        where = f"{address}/artifacts/1/{trial['trial_id']}"
        assert set(files) == {
            "candidate.json",
            "net.config",
            "Offline-PerformanceOnly-summary.txt",
            "Offline-PerformanceOnly-detail.txt",
            "logs.zip",
        }
        for artifact in files.values():
            assert f"(/artifacts/1/{trial['trial_id']}/{artifact})" in trial["note"]["body"]
        assert fetch(f"{where}/{files['net.config']}") == b'{"name": "ProxylessNASNets"}'
        summary = fetch(f"{where}/{files['Offline-PerformanceOnly-summary.txt']}")
        assert summary.decode() == SUMMARY
        with zipfile.ZipFile(io.BytesIO(fetch(f"{where}/{files['logs.zip']}"))) as archive:
            assert "trial-00000/Server-PerformanceOnly/probe_1/mlperf_log_summary.txt" in (
                archive.namelist()
            )
            assert archive.testzip() is None


def test_files_attached_before_the_end_are_optunas_own_and_not_attached_twice(
    study: optuna.Study, work: Path
) -> None:
    outcome = read_outcome(study)
    reference = outcome.reference
    running = add_trial(study, outcome.document, reference, random.Random(1), finish=False)
    logs = work / "runs" / f"trial-{running.number:05d}" / "Offline-PerformanceOnly"
    logs.mkdir(parents=True)
    (logs / "mlperf_log_summary.txt").write_text(SUMMARY)
    candidate = outcome.records[0].candidate
    attach_files(study, running, candidate, work, artifact_store(work))
    study.tell(running, state=optuna.trial.TrialState.PRUNED)
    annotate(study, running.number, work)
    metas = get_all_artifact_meta(running)
    assert sorted(meta.filename for meta in metas) == [
        "Offline-PerformanceOnly-summary.txt",
        "candidate.json",
        "logs.zip",
    ]
    with served(study) as address:
        assert len(fetch_trials(address)[running.number]["artifacts"]) == 3


def test_a_trial_that_made_no_files_still_gets_its_note(study: optuna.Study, work: Path) -> None:
    annotate(study, 5, work)
    with served(study) as address:
        trial = fetch_trials(address)[5]
        assert "no result within 305 s" in trial["note"]["body"]
        assert [a["filename"] for a in trial["artifacts"]] == ["candidate.json"]


def test_the_study_shows_its_plots_and_note_written_anew_each_time(
    study: optuna.Study, work: Path
) -> None:
    for _ in range(2):
        annotate_study(study, read_outcome(study))
    with served(study) as address:
        shown = json.loads(fetch(f"{address}/api/studies/1?after=0"))
        plots = {p["id"]: json.loads(p["graph_object"]) for p in shown["plotly_graph_objects"]}
        assert set(plots) == {"pareto", "history"}
        assert {trace["name"] for trace in plots["pareto"]["data"]} >= {"feasible", "baseline"}
        assert "**Pareto front**" in shown["note"]["body"]


def test_the_page_is_renewed_only_when_due(study: optuna.Study) -> None:
    page = StudyPage(study)
    outcome = read_outcome(study)
    page.update(outcome)
    first = dict(study._storage.get_study_system_attrs(study._study_id))
    page.update(outcome)
    assert dict(study._storage.get_study_system_attrs(study._study_id)) == first
    page.update(outcome, now=True)
    again = dict(study._storage.get_study_system_attrs(study._study_id))
    assert again["dashboard:note_ver"] == first["dashboard:note_ver"] + 1


def test_the_dashboard_answers_while_a_search_writes(study: optuna.Study, work: Path) -> None:
    outcome = read_outcome(study)
    with served(study) as address:
        for _ in range(3):
            add_trial(study, outcome.document, outcome.reference, random.Random(2))
        deadline = time.monotonic() + 20  # the dashboard keeps a list of trials for 2 s
        while len(fetch_trials(address)) < 9 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(fetch_trials(address)) == 9


def test_the_dashboard_is_at_this_machines_own_address_only(study: optuna.Study) -> None:
    with Dashboard(study, 0) as dashboard:
        assert dashboard._server.server_address[0] == "127.0.0.1"
        assert dashboard.url == f"http://127.0.0.1:{dashboard.port}/dashboard/studies/1"


def test_a_port_that_cannot_be_had_is_told(study: optuna.Study) -> None:
    with Dashboard(study, 0) as taken, pytest.raises(InputError, match="must be free and from 1"):
        Dashboard(study, taken.port)
    with pytest.raises(InputError, match="but 99999 is not"):
        Dashboard(study, 99999)


def test_an_unknown_artifact_is_not_found(study: optuna.Study, work: Path) -> None:
    with served(study) as address, pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{address}/artifacts/1/1/00000000-0000-0000-0000-000000000000")


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    with pytest.raises(InputError, match="must be a folder that can be written"):
        artifact_store(tmp_path)
