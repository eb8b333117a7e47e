"""The rules of a submission, each on a tree that breaks it alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autosinian.content import file_sha256
from autosinian.errors import InputError
from autosinian.mlperf.checker import MARK, Report, check
from autosinian.mlperf.rules import ROUNDS, RULES, find_round
from tests.mlperf.log_files import write_run
from tests.mlperf.small_tree import SYSTEM, make_tree, system, write_json, write_text

EDGE = ("SingleStream", "MultiStream", "Offline")
Change = Callable[[Path], object]


def examine(root: Path, round_name: str = "v6.1", **options: Any) -> Report:
    return check(root, find_round(round_name), **options)


def offline(top: Path) -> Path:
    return top / "results" / SYSTEM / "resnet50" / "Offline"


def single(top: Path) -> Path:
    return top / "results" / SYSTEM / "resnet50" / "SingleStream"


def rewrite(folder: Callable[[Path], Path], part: str, **values: Any) -> Change:
    """Write a run anew with other values."""

    def change(top: Path) -> object:
        scenario = folder(top).name
        told = {"effective_scenario": scenario, "effective_target_latency_percentile": 0.99}
        return write_run(folder(top) / part, **(told | values))

    return change


PERFORMANCE = "performance/run_1"


def test_a_tree_that_keeps_every_rule_passes(tmp_path: Path) -> None:
    make_tree(tmp_path / "open")
    report = examine(tmp_path / "open")
    assert report.passed, report.problems
    first, second = report.entries
    assert (first.scenario, first.value, first.unit, first.accuracy) == (
        *("Offline", 1000.0, "samples/s", 76.012),
    )
    assert (second.scenario, second.value, second.unit) == ("SingleStream", 0.5, "ms")
    make_tree(tmp_path / "closed", "closed", EDGE)
    assert examine(tmp_path / "closed").passed


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("duration", rewrite(offline, PERFORMANCE, effective_min_duration_ms=60_000)),
        ("samples", rewrite(offline, PERFORMANCE, effective_performance_sample_count=500)),
        ("seeds", rewrite(offline, PERFORMANCE, effective_schedule_rng_seed=1)),
        ("validity", rewrite(offline, PERFORMANCE, result_validity="INVALID")),
        ("run-kind", rewrite(offline, PERFORMANCE, effective_accuracy_log_sampling_target=4096)),
        ("run-kind", rewrite(offline, PERFORMANCE, effective_test_mode="AccuracyOnly")),
        ("scenarios", rewrite(offline, PERFORMANCE, effective_scenario="Server")),
        ("latency", rewrite(single, PERFORMANCE, early_stopping_met=False)),
        ("latency", rewrite(single, PERFORMANCE, effective_target_latency_percentile=0.5)),
        (
            "dataset",
            rewrite(
                offline,
                "accuracy",
                effective_test_mode="AccuracyOnly",
                effective_accuracy_sample_count=10_000,
            ),
        ),
        ("run-kind", rewrite(offline, "accuracy")),
        ("truncation", lambda top: _long_log(top)),
        ("hash", lambda top: write_text(_accuracy(top), "accuracy=76.0%\n")),
        ("hash", lambda top: write_text(_answers(top), "[]\n")),
        ("accuracy", lambda top: write_text(_accuracy(top), "hash=abc\n")),
        ("structure", lambda top: _answers(top).unlink()),
        ("structure", lambda top: shutil.rmtree(top / "src")),
        ("structure", lambda top: shutil.rmtree(offline(top) / "performance")),
        ("measurements", lambda top: write_text(offline(top) / "user.conf", "")),
        ("measurements", lambda top: write_json(offline(top) / "measurements.json", {})),
        ("system", lambda top: (top / "systems" / f"{SYSTEM}.json").unlink()),
        ("system", lambda top: _describe(top, cooling="")),
        ("system", lambda top: _describe(top, submitter="Other")),
        ("system", lambda top: _describe(top, status="soon")),
        ("benchmark", lambda top: _rename(top, "bert-99")),
        ("scenarios", lambda top: single(top).rename(single(top).with_name("Sometimes"))),
    ],
)
def test_each_rule_is_seen_to_be_broken(rule: str, change: Change, tmp_path: Path) -> None:
    change(make_tree(tmp_path))
    assert examine(tmp_path).failed_rules == (rule,)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("queries", rewrite(offline, PERFORMANCE, effective_samples_per_query=1000)),
        ("accuracy", lambda top: write_text(_accuracy(top), "accuracy=75.6%\nhash=abc\n")),
        ("scenarios", lambda top: shutil.rmtree(single(top))),
        ("audit", lambda top: shutil.rmtree(offline(top) / "TEST04")),
        (
            "audit",
            lambda top: write_text(offline(top) / "TEST01" / "verify_accuracy.txt", "TEST FAIL\n"),
        ),
        (
            "audit",
            lambda top: write_text(offline(top) / "TEST04" / "verify_performance.txt", "no\n"),
        ),
        ("run-kind", rewrite(offline, "TEST04/performance/run_1")),
        ("structure", lambda top: (offline(top) / "TEST01/accuracy/accuracy.txt").unlink()),
        ("structure", lambda top: write_text(offline(top) / f"TEST04/{PERFORMANCE}/notes", "")),
        ("benchmark", lambda top: _describe(top, division="closed", system_type="datacenter")),
    ],
)
def test_rules_of_the_closed_division(rule: str, change: Change, tmp_path: Path) -> None:
    change(make_tree(tmp_path, "closed", EDGE))
    assert examine(tmp_path).failed_rules == (rule,)


def test_server_is_held_to_its_latency(tmp_path: Path) -> None:
    top = make_tree(tmp_path, scenarios=("Server",))
    assert examine(tmp_path).passed
    folder = top / "results" / SYSTEM / "resnet50" / "Server" / PERFORMANCE
    write_run(folder, effective_scenario="Server", effective_target_latency_ns=20_000_000)
    assert examine(tmp_path).failed_rules == ("latency",)


def test_answers_that_differ_by_rounding_are_borne_where_accuracy_is_the_same(
    tmp_path: Path,
) -> None:
    folder = offline(make_tree(tmp_path, "closed", EDGE)) / "TEST01"
    write_text(folder / "verify_accuracy.txt", "TEST FAIL\n")
    write_text(folder / "accuracy" / "baseline_accuracy.txt", "accuracy=76.0%\n")
    write_text(folder / "accuracy" / "compliance_accuracy.txt", "accuracy=75.5%\n")
    assert examine(tmp_path).passed
    write_text(folder / "accuracy" / "compliance_accuracy.txt", "accuracy=74.0%\n")
    assert examine(tmp_path).failed_rules == ("audit",)


def test_a_round_has_its_own_seeds(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    assert examine(tmp_path, "v6.0").failed_rules == ("seeds",)
    seeds = {f"effective_{name}": seed for name, seed in ROUNDS["v6.0"].seeds.items()}
    for folder in (offline(top), single(top)):
        told = {"effective_scenario": folder.name, "effective_target_latency_percentile": 0.9}
        write_run(folder / PERFORMANCE, **told, **seeds)
    assert examine(tmp_path, "v6.0").passed


def test_names_in_small_letters_and_own_benchmark_names_are_read(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    single(top).rename(single(top).with_name("singlestream"))
    _rename(top, "my-network")
    write_json(top / "model_mapping.json", {"my-network": "resnet"})
    report = examine(tmp_path)
    assert report.passed
    assert {entry.scenario for entry in report.entries} == {"Offline", "SingleStream"}


def test_results_may_be_inferred_on_edge_systems(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    rewrite(
        offline,
        PERFORMANCE,
        effective_scenario="SingleStream",
        effective_target_latency_percentile=0.9,
    )(top)
    assert examine(tmp_path).passed


def test_a_whole_accuracy_log_must_have_its_hash(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    write_text(_answers(top), "[]\n")
    write_text(_accuracy(top), f"accuracy=76.0%\nhash={file_sha256(_answers(top))}\n")
    assert examine(tmp_path).passed


def test_the_dataset_rule_may_be_left_out(tmp_path: Path) -> None:
    change = rewrite(
        offline,
        "accuracy",
        effective_test_mode="AccuracyOnly",
        qsl_reported_total_count=10_000,
    )
    change(make_tree(tmp_path))
    assert examine(tmp_path).failed_rules == ("dataset",)
    assert examine(tmp_path, dataset_size=False).passed


def test_a_test_run_never_passes(tmp_path: Path) -> None:
    make_tree(tmp_path)
    write_text(tmp_path / MARK, "# A test run\n")
    assert examine(tmp_path).failed_rules == ("test-run",)


def test_damaged_trees_are_problems_and_no_crash(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    (offline(top) / PERFORMANCE / "mlperf_log_detail.txt").write_bytes(b"\xff:::MLLOG {\n")
    write_text(top / "systems" / f"{SYSTEM}.json", "[]")
    write_text(offline(top) / "measurements.json", "{")
    failed = set(examine(tmp_path).failed_rules)
    assert {"system", "measurements", "validity", "duration"} <= failed <= set(RULES)
    json.dumps(examine(tmp_path).to_dict())


@pytest.mark.parametrize(
    "text",
    [
        ":::MLLOG []\n",
        ":::MLLOG {}\n",
        ':::MLLOG {"key": "effective_min_duration_ms", "value": "long", "metadata": {}}\n',
        ':::MLLOG {"key": "result_samples_per_second", "value": null, "metadata": {}}\n',
        "",
    ],
)
def test_odd_logs_are_problems_and_no_crash(text: str, tmp_path: Path) -> None:
    log = offline(make_tree(tmp_path)) / PERFORMANCE / "mlperf_log_detail.txt"
    write_text(log, text)
    assert not examine(tmp_path).passed


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a submission"):
        examine(tmp_path)
    (tmp_path / "open").mkdir()
    assert examine(tmp_path).failed_rules == ("structure",)


def _answers(top: Path) -> Path:
    return offline(top) / "accuracy" / "mlperf_log_accuracy.json"


def _accuracy(top: Path) -> Path:
    return offline(top) / "accuracy" / "accuracy.txt"


def _long_log(top: Path) -> None:
    write_text(_answers(top), f"[{20_000 * ' '}]\n")
    write_text(_accuracy(top), f"accuracy=76.0%\nhash={file_sha256(_answers(top))}\n")


def _describe(top: Path, **fields: str) -> None:
    write_json(top / "systems" / f"{SYSTEM}.json", system("open") | fields)


def _rename(top: Path, name: str) -> Path:
    return (top / "results" / SYSTEM / "resnet50").rename(top / "results" / SYSTEM / name)
