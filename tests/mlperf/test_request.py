"""How config file, bundle and options settle what is served."""

import json
from pathlib import Path
from typing import Any

import pytest

from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from autosinian.mlperf.config_file import config_path
from autosinian.mlperf.request import Request, Serving, recognise, settle
from autosinian.mlperf.source import Source, open_source
from tests.mlperf.small_bundle import silent

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0"


@pytest.fixture
def source(small_bundle: Bundle) -> Source:
    return open_source(small_bundle.folder)


@pytest.fixture
def system(source: Source) -> str:
    """The id of the machine that runs this test."""
    (serving,) = settle(source, Request("Offline"), silent)
    return recognise(serving.engine, serving.workers)


def write(root: Path, scenario: str, systems: dict[str, Any]) -> Path:
    path = config_path(root, "resnet50", scenario)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"benchmark": "resnet50", "scenario": scenario, **systems}))
    return root


def one(source: Source, asked: Request, told: list[str] | None = None) -> Serving:
    (serving,) = settle(source, asked, (told if told is not None else []).append)
    return serving


def test_without_a_file_the_bundle_says_how(source: Source) -> None:
    serving = one(source, Request("Offline"))
    assert serving.config == source.engine
    assert (serving.precision, serving.version, serving.name) == (
        "int8",
        "default",
        serving.system,
    )


def test_a_file_stands_over_the_bundle_and_options_over_both(
    source: Source, system: str, tmp_path: Path
) -> None:
    entry = {"gpu_batch_size": 5, "gpu_offline_expected_qps": 77, "precision": "fp32"}
    root = write(tmp_path, "Offline", {system: entry})
    told: list[str] = []
    serving = one(source, Request("Offline", configs=root), told)
    assert serving.config.batch_size == 5
    assert serving.precision == "fp32"
    assert serving.settings == {"offline_expected_qps": 77}
    assert told == [
        f"settings of `{system}`, config_ver default, from `{root}/resnet50/Offline/config.json`"
    ]
    other = one(source, Request("Offline", configs=root, batch_size=6, options={"streams": 1}))
    assert other.config.batch_size == 6


def test_versions_run_one_after_another_and_missing_ones_are_told(
    source: Source, system: str, tmp_path: Path
) -> None:
    entry = {"gpu_batch_size": 5, "config_ver": {"small": {"gpu_batch_size": 2}}}
    root = write(tmp_path, "Offline", {system: entry})
    told: list[str] = []
    versions = ("default", "high_accuracy", "small")
    asked = Request("Offline", configs=root, config_versions=versions)
    found = settle(source, asked, told.append)
    assert [(s.name, s.config.batch_size) for s in found] == [(system, 5), (f"{system}_small", 2)]
    assert any("has no config_ver `high_accuracy`" in line for line in told)
    alone = Request("Offline", configs=root, config_versions=("high_accuracy",))
    with pytest.raises(InputError, match="must be one of default, small, got `high_accuracy`"):
        settle(source, alone, told.append)


def test_a_system_is_recognised_or_named(source: Source, system: str, tmp_path: Path) -> None:
    root = write(tmp_path, "Offline", {"T4x1": {"gpu_batch_size": 3}})
    told: list[str] = []
    assert one(source, Request("Offline", configs=root), told).config == source.engine
    assert f"has no entry for this system, `{system}` (it has T4x1)" in told[0]
    named = one(source, Request("Offline", configs=root, system="T4x1"))
    assert (named.system, named.config.batch_size) == ("T4x1", 3)
    with pytest.raises(InputError, match="must have an entry for system `T4x8`, but has T4x1"):
        one(source, Request("Offline", configs=root, system="T4x8"))


def test_settings_of_another_network_are_left_aside(
    source: Source, system: str, tmp_path: Path
) -> None:
    root = write(tmp_path, "Offline", {system: {"gpu_batch_size": 3, "candidate": "f" * 32}})
    told: list[str] = []
    assert one(source, Request("Offline", configs=root), told).config == source.engine
    assert "has the settings of another network" in told[0]
    with pytest.raises(InputError, match="must be for this network, but are for candidate fff"):
        one(source, Request("Offline", configs=root, system=system))


def test_a_file_at_the_wrong_place_is_refused(source: Source, tmp_path: Path) -> None:
    path = write(tmp_path, "Server", {}) / "resnet50"
    (path / "Server").rename(path / "Offline")
    with pytest.raises(InputError, match="`scenario` must be Offline, but is Server"):
        one(source, Request("Offline", configs=tmp_path))
    with pytest.raises(InputError, match=r"must be a config\.json that can be read"):
        one(source, Request("SingleStream", configs=tmp_path))


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
@pytest.mark.parametrize(
    ("scenario", "system", "batch_size"),
    [("Offline", "T4x1", 1280), ("Server", "T4x8", 80), ("SingleStream", "T4x1", 1)],
)
def test_published_files_settle_on_any_engine(
    source: Source, tmp_path: Path, scenario: str, system: str, batch_size: int
) -> None:
    content = json.loads((PUBLISHED / f"config_{scenario}.json").read_text())
    # One stream more than some test machine has cores is another matter.
    content[system]["gpu_inference_streams"] = 1
    root = write(tmp_path, scenario, content)
    told: list[str] = []
    serving = one(source, Request(scenario, configs=root, system=system), told)
    assert serving.config.batch_size == batch_size
    assert serving.precision == "int8"
    assert any("`input_format` does nothing" in line for line in told)
    assert any("`map_path` does nothing: fashion_mnist has no map" in line for line in told)
