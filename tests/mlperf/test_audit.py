"""`autosinian audit` on real runs, of engines that are honest and of such that are not."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosinian.cli import audit as command
from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from autosinian.mlperf.rules import CURRENT, ROUNDS
from autosinian.mlperf.submission_logs import RunLog, read_run
from tests.mlperf.served_bundle import with_engine

SHORT = ("--duration", "0.2")


@pytest.fixture(scope="module", autouse=True)
def _own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other process of ours on the machine shall be waited for."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("lock"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="module")
def honest(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_engine(small_bundle, tmp_path_factory.mktemp("honest") / "best")


def audit(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="autosinian")
    command.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["audit", *arguments])
    return int(parsed.run(parsed))


def logs(folder: Path) -> RunLog:
    found = read_run(folder / "performance" / "run_1")
    assert found is not None
    return found


def test_an_honest_engine_answers_as_in_its_accuracy_run(
    honest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A stray file in the current folder must not matter to any run.
    monkeypatch.chdir(tmp_path)
    stray = "*.*.mode = 1\n*.*.performance_issue_same = 1\n"
    Path("audit.config").write_text(stray)
    tests = ("--test", "TEST01", "--test", "TEST04", "--test", "TEST05")
    code = audit(str(honest), *SHORT, *tests, "--scenario", "Offline", "--out", "a", "--json")
    audits = {found["test"]: found for found in json.loads(capsys.readouterr().out)["audits"]}
    assert list(audits) == ["TEST01", "TEST04", "TEST05"]
    assert code == (0 if all(found["passed"] for found in audits.values()) else 1)
    # A busy machine may speak against the speed of runs this short; answers must hold.
    folder = tmp_path / "a" / "Offline"
    assert "TEST PASS\n" in (folder / "TEST01" / "verify_accuracy.txt").read_text()
    reference, seeds = logs(folder), ROUNDS[CURRENT].seeds
    assert reference.kind == "performance"
    assert all(reference.values[f"effective_{name}"] == seed for name, seed in seeds.items())
    assert {test: logs(folder / test).kind for test in ("TEST01", "TEST04")} == {
        "TEST01": "TEST01",
        "TEST04": "TEST04",
    }
    assert logs(folder / "TEST04").values["effective_performance_issue_same_index"] == 3
    others = logs(folder / "TEST05").values
    assert all(others[f"effective_{name}"] != seed for name, seed in seeds.items())
    # Only LoadGen's files and the verdicts: nothing with paths of this machine.
    names = sorted(path.name for path in (folder / "TEST01" / "performance" / "run_1").iterdir())
    assert names == ["mlperf_log_detail.txt", "mlperf_log_summary.txt"]
    assert Path("audit.config").read_text() == stray


def test_one_answer_for_any_sample_fails_test01(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cheat = with_engine(small_bundle, tmp_path / "best", "tests.mlperf.cheats:SameAnswerEngine")
    arguments = (
        *SHORT,
        "--test",
        "TEST01",
        "--scenario",
        "SingleStream",
        "--out",
        str(tmp_path / "a"),
    )
    assert audit(str(cheat), *arguments) == 1
    told = capsys.readouterr()
    assert told.out.startswith("FAILED SingleStream TEST01: ")
    assert "sampled answers differ from the accuracy run's" in told.out
    assert "not passed: SingleStream TEST01" in told.err
    verdict = tmp_path / "a" / "SingleStream" / "TEST01" / "verify_accuracy.txt"
    assert "TEST FAIL" in verdict.read_text()


def test_answering_equal_samples_from_memory_fails_test04(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cheat = with_engine(small_bundle, tmp_path / "best", "tests.mlperf.cheats:RememberingEngine")
    arguments = (
        *SHORT,
        "--test",
        "TEST04",
        "--scenario",
        "SingleStream",
        "--out",
        str(tmp_path / "a"),
    )
    assert audit(str(cheat), *arguments) == 1
    assert "FAILED SingleStream TEST04: " in capsys.readouterr().out
    verdict = tmp_path / "a" / "SingleStream" / "TEST04" / "verify_performance.txt"
    assert "TEST FAIL" in verdict.read_text()


def test_a_file_of_ones_own_replaces_the_built_in(honest: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text(
        "*.SingleStream.performance_issue_same = 1\n*.*.performance_issue_same_index = 5\n"
    )
    out = tmp_path / "a"
    arguments = ("--audit-config", str(mine), "--scenario", "SingleStream", "--out", str(out))
    audit(str(honest), *SHORT, *arguments)
    folder = out / "SingleStream"
    assert logs(folder / "TEST04").values["effective_performance_issue_same_index"] == 5
    assert not (folder / "TEST01").exists()
    # Another audit is compared with the run that is there.
    again = ("--logs", str(out), "--test", "TEST04", "--scenario", "SingleStream")
    audit(str(honest), *SHORT, *again, "--out", str(tmp_path / "b"))
    known = tmp_path / "b" / "SingleStream"
    assert logs(known).values == logs(folder).values
    assert logs(known / "TEST04").values["effective_performance_issue_same_index"] == 3


def test_bad_input_is_told_before_anything_is_written(
    honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no.config").write_text("nothing\n")
    Path("full").mkdir()
    (Path("full") / "file").write_text("")
    for arguments, said in (
        (("--audit-config", "no.config"), "must be an audit.config of TEST01"),
        (("--round", "v0.1"), "a round must be one of v6.1"),
        (("--scenario", "Sometimes"), "a scenario must be one of Offline"),
        (("--scenario", "Server"), "must have been measured in Server"),
        (("--duration", "0"), "must be above 0 and below 600 s"),
        (("--out", "full"), "`full` must not exist yet"),
        (("--logs", "nowhere"), "there is no `nowhere`"),
    ):
        with pytest.raises(InputError, match=said):
            audit(str(honest), *SHORT, *arguments)
    assert sorted(path.name for path in Path().iterdir()) == ["full", "no.config"]


def test_a_changed_bundle_is_refused(small_bundle: Bundle, tmp_path: Path) -> None:
    changed = with_engine(small_bundle, tmp_path / "best")
    (changed / "model.onnx").write_bytes(b"other")
    out = tmp_path / "a"
    with pytest.raises(InputError, match="as it was exported, but `model"):
        audit(str(changed), *SHORT, "--out", str(out))
    assert not out.exists()
