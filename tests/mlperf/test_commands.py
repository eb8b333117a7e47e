"""`autosinian run`, `build`, `calibrate` and `preprocess --bundle` as they are typed."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosinian.cli.main import main
from autosinian.export.bundle import Bundle

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0/config_Offline.json"
QUICK = ("--lgts-min_duration_ms", "120", "--lgts_min_query_count", "1", "--test-mode")


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other process of ours on the machine shall be waited for; commands start elsewhere."""
    tempfile.tempdir = str(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    tempfile.tempdir = None


@pytest.fixture
def best(small_bundle: Bundle) -> str:
    return str(small_bundle.folder)


def test_the_commands_teach_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "build", "calibrate", "preprocess"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "examples:" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    told = capsys.readouterr().out
    assert "--lgts-<field> V" in told and "server_target_qps" in told


def test_a_run_prints_figures_and_where_its_logs_are(
    best: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", best, *QUICK, "SubmissionRun"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[1].startswith("Samples per second: ")
    assert lines[2] == "Result is: VALID"
    assert lines[3].startswith("accuracy=") and lines[3].endswith(", total=120")
    logs = Path(lines[4].removeprefix("logs: "))
    assert logs.parts[:2] == ("build", "logs") and logs.parts[4:] == ("resnet50", "Offline")
    assert (logs / "mlperf_log_summary.txt").is_file()
    assert "Offline SubmissionRun on" in told.err


def test_json_is_what_stdout_holds(best: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", best, *QUICK, "AccuracyOnly", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["good"] == round(found["accuracy"] * 120)
    assert found["figure"] is None


def test_an_invalid_run_ends_with_one(best: str, capsys: pytest.CaptureFixture[str]) -> None:
    too_few = ("--lgts-offline-expected-qps", "1", "--lgts-min-duration-ms", "60000")
    assert main(["run", best, "--fast", *too_few, "--test-mode", "PerformanceOnly"]) == 1
    told = capsys.readouterr()
    assert "Result is: INVALID" in told.out
    assert "autosinian: LoadGen says INVALID: Increase expected QPS" in told.err


def test_a_log_setting_and_a_user_conf_reach_loadgen(best: str, tmp_path: Path) -> None:
    (tmp_path / "user.conf").write_text("*.Offline.min_duration = 90\n*.*.min_query_count = 1\n")
    user = ("--user-conf-path", "user.conf", "--lgls-prefix", "mine_")
    assert main(["run", best, *user, "--test-mode", "PerformanceOnly"]) == 0
    (detail,) = (tmp_path / "build").rglob("mine_detail.txt")
    assert '"key": "effective_min_duration_ms", "value": 90' in detail.read_text()


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published files are not here")
def test_a_published_config_file_serves_a_named_system(
    best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "configs" / "resnet50" / "Offline"
    place.mkdir(parents=True)
    shutil.copyfile(PUBLISHED, place / "config.json")
    named = ("--system", "T4x1", "--batch-size", "8", "--config-ver", "default,high_accuracy")
    quick = ("--lgts-min_duration_ms", "1", "--lgts-offline_expected_qps", "900000")
    assert main(["run", best, *named, *quick, "--test-mode", "PerformanceOnly"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("resnet50 Offline PerformanceOnly on T4x1, int8, batch size 8\n")
    assert "note: `T4x1` has no config_ver `high_accuracy`" in told.err
    for key in ("gpu_copy_streams", "input_dtype", "input_format", "tensor_path", "map_path"):
        assert told.err.count(f"note: `{key}` does nothing: ") == 1


def test_calibrate_build_and_preprocess(best: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", best, "--algorithm", "percentile", "--limit", "8", "--json"]) == 0
    cache = json.loads(capsys.readouterr().out)["file"]
    assert cache.startswith("build/calibration/small-")
    for expected in ("built", "known"):
        assert main(["build", best, "--calibrator-cache", cache, "--json"]) == 0
        (made,) = json.loads(capsys.readouterr().out)
        assert made["state"] == expected
    assert main(["build", best, "--calibrator-cache", cache, "--force-build"]) == 0
    assert capsys.readouterr().out.endswith(" (built)\n")
    assert main(["preprocess", "--bundle", best, "--val-only"]) == 0
    assert capsys.readouterr().out.startswith("validation: 120 x 3 x 16 x 16 float32 in `build/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "BEST", "--lgts-min_duration_ms", "long"], "`min_duration_ms` must be a whole"),
        (["run", "BEST", "--config-ver", "a,,b"], "`--config-ver` must be names"),
        (["run", "BEST", "--option", "streams"], "`--option` must be NAME=VALUE"),
        (["run", "BEST", "--option", "streams=many"], "streams must be an integer"),
        (["run", "BEST", "--user-conf-path", "absent"], "`absent` must be a file"),
        (["run", "BEST", "--memory-limit", "-5"], "must be above 0"),
        (["run", "absent"], "there is no such folder"),
        (["build", "BEST", "--configs", "absent"], "must be a config.json that can be read"),
        (["calibrate", "BEST", "--cal-map", "map.txt"], "`--cal-map` needs the folder"),
        (["preprocess"], "DATASET, `--out`, `--resolution` must be given"),
        (["preprocess", "cifar10", "--bundle", "BEST"], "must be left out with `--bundle`"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    best: str,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([best if word == "BEST" else word for word in arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err and told.err.count("\n") == 1
    assert not (tmp_path / "build" / "logs").exists()


def test_a_changed_bundle_is_not_run(
    best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(best, tmp_path / "changed")
    (tmp_path / "changed" / "model.engine").write_bytes(b"another")
    assert main(["run", "changed"]) == 2
    assert "`model.engine` has changed since it was exported" in capsys.readouterr().err


def test_a_place_that_takes_no_files_is_told(
    best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for command in (["run", best], ["calibrate", best], ["build", best, "--batch-size", "2"]):
        assert main([*command, "--build-dir", "file"]) == 2
        told = capsys.readouterr().err
        assert "`file" in told and told.splitlines()[-1].startswith("autosinian: ")
