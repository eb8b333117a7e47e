"""config.json of MLPerf v1.0: read, inherited, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.mlperf.config_file import config_path, read_config

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0"


def write(folder: Path, systems: dict[str, Any], **top: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"benchmark": "resnet50", "scenario": "Offline", **top, **systems}))
    return path


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
@pytest.mark.parametrize("scenario", ["Offline", "Server", "SingleStream"])
def test_the_published_files_load_as_they_are(scenario: str) -> None:
    file = read_config(PUBLISHED / f"config_{scenario}.json")
    assert (file.benchmark, file.scenario) == ("resnet50", scenario)
    content = json.loads((PUBLISHED / f"config_{scenario}.json").read_text())
    for system in file.systems:
        for version in file.versions(system):
            entry = content[system]
            expected = content["default"] | {k: v for k, v in entry.items() if k != "config_ver"}
            expected |= entry.get("config_ver", {}).get(version, {})
            assert file.resolve(system, version) == expected
    assert len(file.systems) == {"Offline": 6, "Server": 3, "SingleStream": 3}[scenario]


def test_a_system_stands_over_the_default_and_a_version_over_both(tmp_path: Path) -> None:
    entry = {"gpu_batch_size": 8, "config_ver": {"triton": {"gpu_batch_size": 4}}}
    file = read_config(write(tmp_path, {"default": {"use_graphs": True}, "T4x1": entry}))
    assert file.resolve("T4x1") == {"use_graphs": True, "gpu_batch_size": 8}
    assert file.resolve("T4x1", "triton") == {"use_graphs": True, "gpu_batch_size": 4}
    assert file.versions("T4x1") == ("default", "triton")


def test_a_system_extends_others_in_their_order(tmp_path: Path) -> None:
    systems = {
        "A10x1": {"gpu_batch_size": 8, "gpu_copy_streams": 4, "config_ver": {"a": {}}},
        "T4x1": {"gpu_batch_size": 16, "precision": "int8"},
        "T4x2": {"extends": ["A10x1", "T4x1"], "precision": "fp16"},
    }
    file = read_config(write(tmp_path, systems))
    assert file.resolve("T4x2") == {
        "gpu_batch_size": 16,
        "gpu_copy_streams": 4,
        "precision": "fp16",
    }
    assert file.versions("T4x2") == ("default", "a")


def test_a_system_scales_another_and_its_versions(tmp_path: Path) -> None:
    systems = {
        "T4x1": {
            "gpu_offline_expected_qps": 1000.5,
            "gpu_batch_size": 128,
            "config_ver": {"triton": {"gpu_offline_expected_qps": 900}},
        },
        "T4x8": {"scales": {"T4x1": {"gpu_offline_expected_qps": 8}}},
    }
    file = read_config(write(tmp_path, systems))
    assert file.resolve("T4x8")["gpu_offline_expected_qps"] == 8004.0
    assert file.resolve("T4x8", "triton") == {
        "gpu_offline_expected_qps": 7200,
        "gpu_batch_size": 128,
    }
    assert file.resolve("T4x1")["gpu_offline_expected_qps"] == 1000.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    own=st.dictionaries(
        st.sampled_from(["gpu_batch_size", "gpu_copy_streams", "performance_sample_count"]),
        st.integers(1, 9999),
    )
)
def test_what_is_not_overridden_is_inherited(tmp_path: Path, own: dict[str, int]) -> None:
    base = {"gpu_batch_size": 1, "gpu_copy_streams": 2, "performance_sample_count": 3}
    file = read_config(write(tmp_path, {"T4x1": base, "T4x2": {"extends": ["T4x1"], **own}}))
    assert file.resolve("T4x2") == base | own
    assert file.resolve("T4x1") == base


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ({"T4x1": {"gpu_batchsize": 8}}, "`T4x1`: a key must be one of .*; got `gpu_batchsize`"),
        ({"T4x1": {"gpu_batch_size": "8"}}, "`gpu_batch_size` must be int, but got '8'"),
        ({"T4x1": {"gpu_batch_size": True}}, "`gpu_batch_size` must be int, but got True"),
        ({"T4x1": {"gpu_batch_size": 0}}, "`gpu_batch_size` must be at least 1"),
        ({"T4x1": {"use_graphs": 1}}, "`use_graphs` must be bool, but got 1"),
        ({"T4x1": {"server_target_qps": -1}}, "must not be below 0"),
        ({"T4x1": 3}, "`T4x1` must be the object of a system"),
        ({"T4x1": {"config_ver": {"a": {"x": 1}}}}, "`T4x1`, config_ver `a`: a key must be"),
        ({"T4x1": {"config_ver": {"a": 1}}}, "config_ver `a` must be an object"),
        ({"T4x1": {"extends": ["A"]}}, "`T4x1` inherits from `A`, which must be in the file"),
        ({"T4x1": {"extends": ["T4x1"]}}, "must not inherit in a circle, but T4x1 -> T4x1"),
        ({"T4x1": {"extends": [3]}}, "`extends` must be a list of systems"),
        ({"T4x1": {"scales": {"A": 2}}}, "`scales` must be {system: {key: factor}}"),
        (
            {"A": {}, "T4x1": {"scales": {"A": {"gpu_batch_size": 2}}}},
            "scales `gpu_batch_size` of `A`, which must be a number there",
        ),
        (
            {"A": {}, "T4x1": {"extends": ["A"], "scales": {"A": {}}}},
            "must not both extend and scale `A`",
        ),
        ({"default": {"batch": 1}}, "`default`: a key must be one of"),
        ({"scenario": "Onlne"}, "`scenario` must be one of"),
        ({"benchmark": 3}, "must have the text `benchmark`"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, systems: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_config(write(tmp_path, systems))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"T4x1": {}, "T4x1": {}}', "`T4x1` must be there once, but is there twice"),
        ('{"T4x1": {"a": 1, "a": 2}}', "`a` must be there once"),
        ("{", "must be JSON"),
        ("[]", "must be an object of systems"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(path)


def test_a_missing_file_and_a_scaled_count_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a config\.json that can be read"):
        read_config(config_path(tmp_path, "resnet50", "Offline"))
    half = {"A": {"gpu_batch_size": 3}, "B": {"scales": {"A": {"gpu_batch_size": 0.5}}}}
    with pytest.raises(InputError, match="`B` with what it inherits: `gpu_batch_size` must be int"):
        read_config(write(tmp_path, half)).resolve("B")


def test_a_system_and_a_version_must_be_there(tmp_path: Path) -> None:
    file = read_config(write(tmp_path, {"T4x1": {"config_ver": {"triton": {}}}}))
    with pytest.raises(InputError, match="must have an entry for system `A10x1`, but has T4x1"):
        file.resolve("A10x1")
    with pytest.raises(InputError, match="must be one of default, triton, got `maxq`"):
        file.resolve("T4x1", "maxq")
