"""user.conf as LoadGen itself reads it."""

from pathlib import Path

import mlperf_loadgen
import pytest

from autosinian.export.user_conf import user_conf

SETTINGS: dict[str, dict[str, int | float | bool]] = {
    "Offline": {"min_duration_ms": 1500, "min_query_count": 1, "offline_expected_qps": 777.5},
    "Server": {
        "min_duration_ms": 1600,
        "min_query_count": 70,
        "server_target_qps": 99.5,
        "server_target_latency_ns": 21_000_000,
        "server_target_latency_percentile": 0.97,
        "server_coalesce_queries": True,
        "max_duration_ms": 9000,
    },
    "SingleStream": {
        "min_duration_ms": 1700,
        "single_stream_expected_latency_ns": 2_500_000,
        "performance_sample_count_override": 55,
    },
    "MultiStream": {"multi_stream_samples_per_query": 4, "max_query_count": 12},
}


@pytest.mark.parametrize("scenario", SETTINGS)
def test_loadgen_reads_back_every_setting(tmp_path: Path, scenario: str) -> None:
    path = tmp_path / "user.conf"
    path.write_text(user_conf(SETTINGS))
    settings = mlperf_loadgen.TestSettings()
    assert settings.FromConfig("", "resnet50", scenario, 0) == 0
    assert settings.FromConfig(str(path), "resnet50", scenario, 2) == 0
    for name, value in SETTINGS[scenario].items():
        assert getattr(settings, name) == pytest.approx(value), name


def test_a_setting_that_no_user_conf_takes_stands_as_a_comment() -> None:
    text = user_conf({"Offline": {"schedule_rng_seed": 5, "min_duration_ms": 100}})
    assert "# Offline: schedule_rng_seed = 5 (set by the worker)" in text
    assert "*.Offline.min_duration = 100" in text


def test_settings_of_another_scenario_are_left_out() -> None:
    assert "target_qps" not in user_conf({"Offline": {"server_target_qps": 5.0}})
