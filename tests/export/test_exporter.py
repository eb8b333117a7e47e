"""The export of a real study: what the bundle holds, and what stops one."""

import json
import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import AutosinianError, InputError
from autosinian.export.bundle import Bundle, differences
from autosinian.export.exporter import Exporter, Plan
from autosinian.measure.logs import accuracy_of, find_log
from autosinian.quantize.calibrator_cache import read_calibrator_cache
from tests.export.conftest import PLAN, Study


def silent(text: str) -> None:
    """Where nobody listens."""


def test_the_bundle_is_whole_and_sealed(bundle: Bundle) -> None:
    names = {path.name for path in bundle.folder.iterdir()}
    assert names == {
        "net.config",
        "init",
        "model.onnx",
        "model.engine",
        "calibrator.cache",
        "config.json",
        "user.conf",
        "logs",
        "result.json",
        "report.html",
        "SHA256SUMS",
    }
    assert differences(bundle) == []


def test_the_result_names_everything(bundle: Bundle) -> None:
    result = bundle.result
    assert result["scenario"] == "Offline"
    assert result["study"] == "tiny"
    assert result["baseline_samples_per_second"] > 0
    interval = result["intervals"]["Offline.samples_per_second"]
    assert interval["low"] < result["samples_per_second"] < interval["high"]
    assert interval["n"] == PLAN.rounds
    assert set(result["scenarios"]) == {"Offline", "SingleStream"}
    assert result["scenarios"]["SingleStream"]["latency_ns"]["90.00"] > 0
    assert {s["metric"] for s in result["stated"]} == {
        "Offline.samples_per_second",
        "SingleStream.latency_ms",
    }
    assert result["constraints"][0]["holds"]
    assert result["versions"].keys() >= {"autosinian", "openvino", "torch", "mlcommons-loadgen"}
    assert result["seeds"]["search"] == 0
    assert len(result["seeds"]["loadgen"]) == 3
    assert result["data"]["samples"] == 120
    assert result["data_keys"].keys() == {"batch_norm", "calibration", "search", "validation"}
    assert re.fullmatch("[0-9a-f]{64}", result["supernet"]["sha256"])
    assert result["preprocessing"]["resolution"] == 16


def test_the_figures_are_those_of_the_raw_logs(study: Study, bundle: Bundle) -> None:
    labels = study.bench.evaluator.arrays.get("validation", 16).read_labels()
    for folder, name in (("accuracy", "accuracy"), ("baseline-accuracy", "baseline_accuracy")):
        log = find_log(bundle.path(f"logs/{folder}"), "accuracy")
        assert log is not None
        assert accuracy_of(log, labels) == (bundle.result[name], 120)
    rates = [
        float(re.findall(r"Samples per second: ([\d.]+)", path.read_text())[0])
        for path in bundle.path("logs/rounds").glob("*/trial-*/Offline/*summary.txt")
    ]
    assert np.mean(rates) == pytest.approx(bundle.result["samples_per_second"], rel=1e-4)


def test_candidates_run_interleaved_and_reversed_every_other_round(
    bundle: Bundle, told: list[str]
) -> None:
    runs = [re.match(r"round (\d): (\w+)[^,]*, (\w+) ", line) for line in told]
    order = [match.groups() for match in runs if match]
    trial = order[2][1]
    assert trial == "trial"
    assert order == [
        ("1", "baseline", "Offline"),
        ("1", "baseline", "SingleStream"),
        ("1", trial, "Offline"),
        ("1", trial, "SingleStream"),
        ("2", trial, "Offline"),
        ("2", trial, "SingleStream"),
        ("2", "baseline", "Offline"),
        ("2", "baseline", "SingleStream"),
    ]
    assert re.search(r"\(run 8 of 8, \d+ s left\)", "\n".join(told))


def test_ofa_itself_builds_the_exported_network(bundle: Bundle) -> None:
    import torch
    from ofa.imagenet_classification.networks import get_net_by_name

    config = json.loads(bundle.path("net.config").read_text())
    net = get_net_by_name(config["name"]).build_from_config(config)
    net.load_state_dict(torch.load(bundle.path("init"), weights_only=True)["state_dict"])
    assert config["image_size"] == 16
    assert net.eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 10)


def test_the_other_files_belong_to_the_candidate(bundle: Bundle) -> None:
    engine = bundle.result["candidate"]["engine"]
    config = json.loads(bundle.path("config.json").read_text())
    (system,) = (v for k, v in config.items() if k not in ("benchmark", "default", "scenario"))
    assert system["gpu_batch_size"] == engine["batch_size"]
    assert config["default"]["precision"] == "int8"
    assert "*.SingleStream.min_duration = 150" in bundle.path("user.conf").read_text()
    assert len(read_calibrator_cache(bundle.path("calibrator.cache")).scales) > 10
    assert "<html" in bundle.path("report.html").read_text()


def test_no_file_of_the_bundle_names_a_folder_of_this_machine(study: Study, bundle: Bundle) -> None:
    needle = str(study.folder).encode()
    for name in bundle.result["hashes"]:
        if not name.startswith("logs/"):
            assert needle not in bundle.path(name).read_bytes(), name
    assert needle not in bundle.path("result.json").read_bytes()


@pytest.mark.parametrize(
    "arguments", [{"top": 0}, {"rounds": 1}, {"seconds": 0.0}, {"final_seconds": -1.0}]
)
def test_an_impossible_plan_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="at least 2"):
        Plan(**arguments)  # type: ignore[arg-type]


def test_an_existing_folder_is_refused_before_anything_is_measured(
    study: Study, bundle: Bundle
) -> None:
    said: list[str] = []
    with pytest.raises(InputError, match="`--force`"):
        Exporter(study.outcome, study.bench, PLAN, said.append).export(bundle.folder)
    assert said == []


def test_a_study_without_a_baseline_is_refused(study: Study, tmp_path: Path) -> None:
    outcome = replace(study.outcome, baseline=None)
    with pytest.raises(InputError, match="must have a measured baseline"):
        Exporter(outcome, study.bench, PLAN, silent).export(tmp_path / "best")


def test_a_candidate_that_fails_again_stops_the_export(study: Study, tmp_path: Path) -> None:
    document = study.outcome.document
    short = document.measurement.model_copy(update={"memory_limit_mib": 64})
    bench = replace(study.bench, document=document.model_copy(update={"measurement": short}))
    with pytest.raises(AutosinianError, match=r"used .* MiB of memory, more than the limit"):
        Exporter(study.outcome, bench, PLAN, silent).export(tmp_path / "best")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_exporting_leaves_nothing(study: Study, tmp_path: Path) -> None:
    offline = study.outcome.document.model_copy(update={"scenarios": ["Offline"]})
    outcome, bench = (
        replace(study.outcome, document=offline),
        replace(study.bench, document=offline),
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for the logs and the engine, not for the report.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(InputError, match="free space or choose another place") as refused:
            Exporter(outcome, bench, PLAN, silent).export(tmp_path / "best")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert list(study.bench.folder.glob(".export.*")) == []
