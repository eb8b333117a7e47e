"""`autosinian submission` from a bundle: real short runs, and what is refused."""

import argparse
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.cli import submission as command
from autosinian.errors import AutosinianError, InputError
from autosinian.export.bundle import Bundle, differences, open_bundle
from autosinian.export.validation import validation_arrays
from autosinian.measure.logs import accuracy_of
from autosinian.mlperf.checker import MARK
from autosinian.mlperf.harness import RunRequest, run
from autosinian.mlperf.request import Request
from autosinian.mlperf.rules import MAY_BE_EMPTY, MEASUREMENT_FIELDS, SYSTEM_FIELDS
from autosinian.mlperf.source import open_source
from autosinian.mlperf.submission_accuracy import accuracy_text, write_accuracy
from tests.mlperf.log_files import write_answers
from tests.mlperf.served_bundle import with_engine

WHO = ("--submitter", "Example", "--division", "open")
SHORT = ("--test-run", "--duration", "0.2")
OF_SHORT_RUNS = ["duration", "samples", "dataset"]
"""What runs of a fraction of a second on 120 samples break, and nothing else."""


@pytest.fixture(scope="module", autouse=True)
def _own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other process of ours on the machine shall be waited for."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("lock"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="module")
def bundle(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_engine(small_bundle, tmp_path_factory.mktemp("served") / "best")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of short runs, with the work folder of its runs beside it; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert submission(str(bundle), *WHO, *SHORT, "--out", "tree") == 0
    return folder


def submission(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="autosinian")
    command.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["submission", *arguments])
    return int(parsed.run(parsed))


def checked(tree: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    code = submission("--check", str(tree), "--json", *options)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if found["passed"] else 1)
    return found


def results(tree: Path) -> Path:
    (found,) = (tree / "open" / "Example" / "results").glob("*/resnet50")
    return found


def test_a_tree_of_short_runs_breaks_only_the_rules_of_length_and_size(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checked(made / "tree", capsys)
    assert found["failed_rules"] == [*OF_SHORT_RUNS, "test-run"]
    assert {entry["scenario"] for entry in found["entries"]} == {"Offline", "SingleStream"}
    mark = (made / "tree" / MARK).read_text()
    assert mark.startswith("# A test run, not to be submitted")
    assert all(f"`{rule}`" in mark for rule in OF_SHORT_RUNS)


def test_runs_of_the_official_length_on_all_images_pass(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(made / "tree", tree)
    (tree / MARK).unlink()
    for log in results(tree).rglob("mlperf_log_detail.txt"):
        text = log.read_text()
        for key, value in (
            ("effective_min_duration_ms", 600_000),
            ("effective_performance_sample_count", 1024),
            ("effective_accuracy_sample_count", 50_000),
            ("qsl_reported_total_count", 50_000),
        ):
            text = re.sub(rf'("key": "{key}", "value": )\d+', rf"\g<1>{value}", text)
        log.write_text(text)
    assert checked(tree, capsys)["failed_rules"] == []


def test_nothing_is_left_to_be_typed(made: Path) -> None:
    top = made / "tree" / "open" / "Example"
    (system,) = (top / "systems").glob("*.json")
    fields = json.loads(system.read_text())
    assert set(SYSTEM_FIELDS) <= set(fields)
    assert all(fields[name] for name in SYSTEM_FIELDS if name not in MAY_BE_EMPTY)
    assert fields["system_name"] == system.stem == results(made / "tree").parent.name
    assert "openvino" in fields["framework"]
    for scenario in ("Offline", "SingleStream"):
        folder = results(made / "tree") / scenario
        told = json.loads((folder / "measurements.json").read_text())
        assert all(told[name] for name in MEASUREMENT_FIELDS)
        assert told["weight_data_types"] == "int8"
        assert f"*.{scenario}.min_duration = 200\n" in (folder / "user.conf").read_text()
        readme = (folder / "README.md").read_text()
        name = re.search(r"autosinian verify (\S+)", readme)
        assert name is not None
        # The bundle is there whole, so that the commands of the README work on it.
        assert differences(open_bundle(top / name[1])) == []
    assert "minmax" in (top / "documentation" / "calibration.md").read_text()
    program = top / "src" / "resnet50" / "autosinian"
    assert (program / "autosinian" / "measure" / "sut.py").is_file()
    assert 'name = "autosinian"' in (program / "pyproject.toml").read_text()
    assert not list(top.rglob("__pycache__"))


def test_accuracy_is_counted_anew_and_its_whole_log_kept(made: Path, bundle: Path) -> None:
    folder = results(made / "tree") / "Offline" / "accuracy"
    line, hashed = (folder / "accuracy.txt").read_text().splitlines()
    data = json.loads((bundle / "result.json").read_text())["data"]
    arrays = validation_arrays(data, None, made / "arrays")
    assert arrays.labels is not None
    (work,) = (made / "build" / "submission").glob("*/*/resnet50/Offline")
    log = work / "accuracy" / "mlperf_log_accuracy.json"
    accuracy, total = accuracy_of(log, np.load(arrays.labels))
    assert line == f"accuracy={100 * accuracy:.3f}%, good={round(accuracy * total)}, total={total}"
    digest = hashlib.sha256(log.read_bytes()).hexdigest()
    assert hashed == f"hash={digest}"
    whole = made / "tree-full-accuracy-logs" / "Example" / f"{digest}.json"
    assert whole.read_bytes() == log.read_bytes()
    # So short a log is left whole.
    assert (folder / "mlperf_log_accuracy.json").read_bytes() == log.read_bytes()


def test_a_long_accuracy_log_is_cut_as_the_official_tool_cuts_it(tmp_path: Path) -> None:
    log = write_answers(tmp_path / "log.json", {n: n % 10 for n in range(1000)})
    write_accuracy(log, tmp_path / "accuracy", "accuracy=76.012%\n", tmp_path / "kept")
    text, digest = log.read_text(), hashlib.sha256(log.read_bytes()).hexdigest()
    cut = (tmp_path / "accuracy" / "mlperf_log_accuracy.json").read_text()
    assert cut == f"{text[:4096]}\n\n...\n\n{text[-4096:]}"
    told = (tmp_path / "accuracy" / "accuracy.txt").read_text()
    assert told == f"accuracy=76.012%\nhash={digest}\n"
    assert (tmp_path / "kept" / f"{digest}.json").read_text() == text


def test_an_accuracy_log_must_answer_every_sample(tmp_path: Path) -> None:
    write_answers(tmp_path / "mlperf_log_accuracy.json", {0: 1, 2: 1})
    with pytest.raises(AutosinianError, match="must answer all 3 samples, but answers 2"):
        accuracy_text(tmp_path, np.ones(3, np.int64))


def test_a_tree_that_breaks_rules_is_refused_with_each_rule_named(
    made: Path, bundle: Path, tmp_path: Path
) -> None:
    logs = ("--logs", str(made / "build"), "--no-runs", "--out", "tree")
    with pytest.raises(AutosinianError) as refused:
        submission(str(bundle), *WHO, *logs)
    message = str(refused.value)
    assert message.startswith("the submission must keep the rules of v6.1, but breaks `duration`")
    assert all(f"`{rule}`" in message for rule in OF_SHORT_RUNS)
    assert "\n" not in message
    with pytest.raises(AutosinianError) as refused:
        submission(
            str(bundle), "--submitter", "Example", "--division", "closed", "--round", "v6.0", *logs
        )
    message = str(refused.value)
    for rule in ("audit", "model", "scenarios", "accuracy", "queries", "seeds"):
        assert f"`{rule}`" in message
    assert not list(tmp_path.iterdir())


def test_what_is_bound_to_be_refused_is_told_before_anything_runs(
    bundle: Path, tmp_path: Path
) -> None:
    closed = ("--submitter", "Example", "--division", "closed", "--out", "tree")
    with pytest.raises(AutosinianError) as refused:
        submission(str(bundle), *closed)
    message = str(refused.value)
    for rule in ("model", "scenarios", "samples", "dataset"):
        assert f"`{rule}`" in message
    assert "lacks MultiStream" in message
    assert "duration" not in message
    with pytest.raises(AutosinianError, match="`benchmark`"):
        submission(str(bundle), *closed, "--system-type", "datacenter")
    with pytest.raises(InputError, match="two bundles give one"):
        submission(str(bundle), str(bundle), *WHO, "--out", "tree")
    assert not list(tmp_path.iterdir())


def test_audits_go_with_their_verdicts(
    made: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ("--logs", str(made / "build"), "--scenario", "SingleStream", "--audits")
    assert submission(str(bundle), *WHO, *SHORT, *known, "--out", "tree") == 0
    folder = results(tmp_path / "tree") / "SingleStream"
    names = {path.name for path in (folder / "TEST01").iterdir()}
    assert names == {"accuracy", "performance", "verify_accuracy.txt", "verify_performance.txt"}
    assert {path.name for path in (folder / "TEST01" / "accuracy").iterdir()} == {
        "accuracy.txt",
        "mlperf_log_accuracy.json",
    }
    assert "TEST PASS\n" in (folder / "TEST01" / "verify_accuracy.txt").read_text()
    # A busy machine may speak against the speed of runs this short: that is the rule `audit`.
    failed = set(checked(tmp_path / "tree", capsys)["failed_rules"])
    assert failed - {"audit"} == {*OF_SHORT_RUNS, "test-run"}
    # The runs that were there were used, not made again.
    (performance,) = (tmp_path / "build" / "submission").glob("*/*/resnet50/SingleStream")
    log = "performance/run_1/mlperf_log_detail.txt"
    (known_log,) = (made / "build" / "submission").glob(f"*/*/resnet50/SingleStream/{log}")
    assert (performance / log).read_bytes() == known_log.read_bytes()


def test_runs_of_autosinian_run_are_taken(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A SubmissionRun is a performance and an accuracy run in one.
    asked = RunRequest(
        Request(scenario="SingleStream", build=tmp_path / "build"),
        settings={"min_duration_ms": 200, "min_query_count": 64},
    )
    run(open_source(bundle), asked, lambda _: None)
    logs = ("--logs", "build/logs", "--no-runs", "--scenario", "SingleStream", "--out", "tree")
    assert submission(str(bundle), *WHO, *SHORT, *logs) == 0
    found = checked(tmp_path / "tree", capsys)
    assert found["failed_rules"] == [*OF_SHORT_RUNS, "test-run"]


def test_runs_of_another_engine_file_are_refused(
    small_bundle: Bundle, made: Path, tmp_path: Path
) -> None:
    other = with_engine(small_bundle, tmp_path / "other")
    for served in (made / "build").rglob("served.json"):
        target = tmp_path / "logs" / served.relative_to(made).parent
        shutil.copytree(served.parent, target)
        (target / "served.json").write_text('{"engine_file_sha256": "0"}')
    logs = ("--logs", "logs", "--no-runs", "--out", "tree")
    with pytest.raises(InputError, match="is of another engine file"):
        submission(str(other), *WHO, *logs)


def test_bad_input_is_told_before_anything_runs(bundle: Path, tmp_path: Path) -> None:
    fields = tmp_path / "fields.json"
    fields.write_text('{"colour": "blue"}')
    whole = (str(bundle), *WHO, "--out", "tree")
    for arguments, said in (
        ((str(bundle), "--division", "open", "--out", "t"), "`--submitter` must be given"),
        ((*WHO, "--out", "t"), "a bundle must be given"),
        ((*whole, "--submitter", "../me"), "`--submitter` must be a name"),
        ((*whole, "--system", "a/b"), "`--system` must be a name, fit for a folder"),
        ((*whole, "--division", "half"), "`--division` must be one of closed, open"),
        ((*whole, "--status", "soon"), "`--status` must be one of available"),
        ((*whole, "--duration", "1"), "add `--test-run`"),
        ((*whole, "--no-runs"), "`--no-runs` needs `--logs`"),
        ((*whole, "--system-fields", str(fields)), "`colour` is none that a file may give"),
        ((*whole, "--logs", "nowhere", "--no-runs"), "there is no `nowhere`"),
        ((*whole, "--round", "v5.0"), "a round must be one of v6.1, v6.0"),
        (("--check", "tree", str(bundle)), "`--check` takes a tree alone"),
        ((*whole, *SHORT, "--no-runs", "--logs", "."), "must hold a performance run"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            submission(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["fields.json"]


def test_fields_that_no_program_reads_may_be_given(
    made: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "fields.json").write_text('{"cooling": "Air-cooled"}')
    known = ("--logs", str(made / "build"), "--no-runs", "--system-fields", "fields.json")
    assert submission(str(bundle), *WHO, *SHORT, *known, "--system", "box", "--out", "tree") == 0
    path = tmp_path / "tree" / "open" / "Example" / "systems" / "box.json"
    assert json.loads(path.read_text())["cooling"] == "Air-cooled"
