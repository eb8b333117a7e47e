from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.measure.logs import read_detail
from autosinian.measure.process import run
from tests.measure.conftest import LIMITS, Bench


def test_an_unknown_setting_is_answered_with_close_names(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'min_duraton_ms'; close names: min_duration_ms"):
        bench.run("Offline", "PerformanceOnly", tmp_path, settings={"min_duraton_ms": 1})
    with pytest.raises(InputError, match="close names: enable_trace"):
        bench.run("Offline", "PerformanceOnly", tmp_path, log_settings={"enable_traces": True})


def test_a_setting_of_another_type_is_bad_input(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"min_duration_ms must be of type int, got 1\.5"):
        bench.run("Offline", "PerformanceOnly", tmp_path, settings={"min_duration_ms": 1.5})


def test_issue_threads_that_would_hang_are_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="server_num_issue_query_threads must be 0, got 2"):
        bench.run(
            "Server", "PerformanceOnly", tmp_path, settings={"server_num_issue_query_threads": 2}
        )


@pytest.mark.parametrize("name", ["mlperf_conf", "user_conf", "audit_conf"])
def test_a_missing_configuration_file_is_told(name: str, bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no_such_file must be a file, but there is none"):
        bench.run("Offline", "PerformanceOnly", tmp_path, **{name: str(tmp_path / "no_such_file")})


def test_a_damaged_user_conf_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "user.conf").write_text("*.Offline.target_qps = fast\n")
    with pytest.raises(InputError, match=r"user\.conf .* LoadGen refuses it"):
        bench.run("Offline", "PerformanceOnly", tmp_path, user_conf=str(tmp_path / "user.conf"))


def test_files_change_the_built_in_values_and_names_change_the_files(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "user.conf").write_text(
        "*.Server.target_qps = 321\n"
        "*.Server.target_latency = 77\n"
        "resnet50.Server.min_query_count = 50\n"
    )
    job = bench.job(
        "Server", "PerformanceOnly", tmp_path / "out", user_conf=str(tmp_path / "user.conf")
    )
    settings: dict[str, int | float | bool] = {
        "min_duration_ms": 100,
        "server_target_qps": 654,
        "server_coalesce_queries": True,
    }
    run(replace(job, settings=settings), **LIMITS)
    values, _ = read_detail((tmp_path / "out" / "mlperf_log_detail.txt").read_text())
    assert values["effective_target_qps"] == 654
    assert values["effective_target_latency_ns"] == 77_000_000
    # Only the mlperf.conf inside LoadGen has these seeds.
    assert values["effective_qsl_rng_seed"] != 0


def test_log_settings_are_set_by_name(bench: Bench, tmp_path: Path) -> None:
    measurement = bench.run(
        "Offline", "AccuracyOnly", tmp_path, log_settings={"prefix": "own_", "suffix": "_x"}
    )
    assert measurement.accuracy == 1.0
    assert (tmp_path / "own_detail_x.txt").exists()


def test_a_stray_audit_config_in_the_current_folder_is_not_read(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.config").write_text("*.*.mode = 1\n")
    monkeypatch.chdir(tmp_path)
    measurement = bench.run("Offline", "PerformanceOnly", tmp_path / "out")
    assert measurement.valid
    assert measurement.samples_per_second is not None


def test_an_audit_config_of_the_job_is_read(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "audit.config").write_text("*.*.performance_issue_unique = 1\n")
    bench.run("Offline", "PerformanceOnly", tmp_path, audit_conf=str(tmp_path / "audit.config"))
    values, _ = read_detail((tmp_path / "mlperf_log_detail.txt").read_text())
    assert values["effective_performance_issue_unique"] is True
