"""Bundles run through LoadGen as a submitter runs them."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from autosinian.measure.logs import find_log, read_labels
from autosinian.mlperf.config_file import config_path, read_config
from autosinian.mlperf.config_merge import write_configs
from autosinian.mlperf.harness import RunRequest, run
from autosinian.mlperf.request import Request
from autosinian.mlperf.run_report import PEAK, Report
from autosinian.mlperf.source import open_source

SHORT: dict[str, Any] = {"min_duration_ms": 150, "min_query_count": 1}


@pytest.fixture(scope="module", autouse=True)
def _own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other process of ours on the machine shall be waited for."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("lock"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines and arrays of all tests here."""
    return tmp_path_factory.mktemp("work") / "build"


def request(build: Path, scenario: str = "Offline", **changes: Any) -> RunRequest:
    settings = SHORT | changes.pop("settings", {})
    fields = {
        name: changes.pop(name) for name in list(changes) if name in RunRequest.__annotations__
    }
    serve = Request(scenario=scenario, build=build, **changes)
    return RunRequest(**{"serve": serve, "mode": "PerformanceOnly", "settings": settings, **fields})


def one(bundle: Bundle, asked: RunRequest, told: list[str] | None = None) -> Report:
    (report,) = run(open_source(bundle.folder), asked, (told if told is not None else []).append)
    return report


def test_figures_are_those_of_the_summary_to_the_last_digit(
    small_bundle: Bundle, build: Path
) -> None:
    report = one(small_bundle, request(build))
    summary = (report.logs / "mlperf_log_summary.txt").read_text()
    assert report.summary.figure is not None
    assert f"\nSamples per second: {report.summary.figure.text}\n" in summary
    assert f"Samples per second: {report.summary.figure.text}" in report.lines()
    value = report.to_dict()
    assert value["figure"]["text"] == report.summary.figure.text
    assert value["valid"] and value["result"] == "VALID"
    assert value == json.loads((report.logs / "result.json").read_text())


def test_logs_lie_by_time_system_benchmark_and_scenario(small_bundle: Bundle, build: Path) -> None:
    report = one(small_bundle, request(build))
    below = report.logs.relative_to(build / "logs").parts
    assert below[1:] == (report.serving.system, "resnet50", "Offline")
    assert report.as_exported
    assert report.engine.state == "bundle"


def test_accuracy_is_an_independent_count(small_bundle: Bundle, build: Path) -> None:
    report = one(small_bundle, request(build, mode="SubmissionRun"))
    log = find_log(report.logs, "accuracy")
    assert log is not None
    labels, _ = read_labels(log, report.samples)
    (truth_file,) = (build / "preprocessed_data").glob("*/labels.npy")
    good = int((labels == np.load(truth_file)).sum())
    assert f"accuracy={100 * good / 120:.3f}%, good={good}, total=120" in report.lines()
    assert report.summary.figure is not None


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream"])
def test_streams_give_their_percentile_and_the_estimate(
    small_bundle: Bundle, build: Path, scenario: str
) -> None:
    settings = {"min_query_count": 700} if scenario == "MultiStream" else {}
    report = one(small_bundle, request(build, scenario, settings=settings))
    summary = (report.logs / "mlperf_log_summary.txt").read_text()
    for figure in (report.summary.figure, report.summary.early_stopping):
        assert figure is not None
        assert figure.text in summary
        assert figure.value > 1000


def test_another_batch_size_is_built_once(small_bundle: Bundle, build: Path) -> None:
    first = one(small_bundle, request(build, batch_size=3))
    again = one(small_bundle, request(build, batch_size=3))
    assert (first.engine.state, again.engine.state) == ("built", "known")
    assert first.engine.path == again.engine.path
    assert first.engine.path.name.startswith("bs3_is16_")
    streams = one(small_bundle, request(build, batch_size=3, threads=1))
    assert streams.engine.state == "known"


def test_a_minute_is_what_fast_asks_for(small_bundle: Bundle, build: Path) -> None:
    slow = replace(request(build, mode="AccuracyOnly"), settings={}, fast=True)
    report = one(small_bundle, slow)
    detail = (report.logs / "mlperf_log_detail.txt").read_text()
    assert '"key": "requested_min_duration_ms", "value": 60000' in detail
    assert '"key": "requested_min_query_count", "value": 1' in detail


def test_the_highest_server_rate_is_found(small_bundle: Bundle, build: Path) -> None:
    settings = {"server_target_latency_ns": 500_000_000}
    report = one(small_bundle, request(build, "Server", mode=PEAK, settings=settings))
    assert report.measurement.target_qps is not None
    assert any(line.startswith("highest rate that held: ") for line in report.lines())
    assert (report.logs / "probe_1").is_dir()


def test_a_config_files_low_expectation_makes_no_run_invalid(
    small_bundle: Bundle, build: Path, tmp_path: Path
) -> None:
    write_configs(small_bundle, tmp_path)
    path = config_path(tmp_path, "resnet50", "Offline")
    content = json.loads(path.read_text())
    (system,) = read_config(path).systems
    content[system]["gpu_offline_expected_qps"] = 1
    path.write_text(json.dumps(content))
    told: list[str] = []
    report = one(small_bundle, request(build, configs=tmp_path), told)
    assert report.measurement.valid
    assert any("1 samples/s are expected, but the engine does" in line for line in told)
    named = request(build, configs=tmp_path, settings={"offline_expected_qps": 1.0})
    assert not one(small_bundle, named).measurement.valid


def test_an_invalid_run_is_told(small_bundle: Bundle, build: Path) -> None:
    told: list[str] = []
    asked = request(build, settings={"min_duration_ms": 60_000, "offline_expected_qps": 1.0})
    report = one(small_bundle, asked, told)
    assert not report.measurement.valid
    assert report.summary.result == "INVALID"
    assert any(line.startswith("LoadGen: ") for line in told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "Server"}, "Server needs a rate: give `--lgts-server_target_qps`"),
        ({"mode": PEAK}, "FindPeakPerformance is for Server alone"),
        ({"mode": "Quick"}, "`--test-mode` must be one of"),
        ({"scenario": "Onlne"}, "`--scenario` must be one of"),
        ({"batch_size": 0}, "`--batch-size` must be at least 1"),
        ({"options": {"steams": 2}}, "an option of engine openvino is one of .*; got `steams`"),
        ({"threads": 999}, "threads must be an integer"),
        ({"config_versions": ("high_accuracy",)}, "`high_accuracy` must be in a config.json"),
        ({"system": "T4x1"}, "`--system` names an entry of .*, but there is no such file"),
        ({"mlperf_conf": Path("absent.conf")}, "`absent.conf` must be a file"),
        ({"val_map": Path("absent.txt")}, "`--val-map` needs the folder of its images"),
    ],
)
def test_what_cannot_be_run_is_refused_and_nothing_logged(
    small_bundle: Bundle,
    build: Path,
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # `configs` and the files named are looked for here
    before = sorted((build / "logs").iterdir()) if build.exists() else []
    with pytest.raises(InputError, match=message):
        one(small_bundle, request(build, **changes))
    assert (sorted((build / "logs").iterdir()) if build.exists() else []) == before
