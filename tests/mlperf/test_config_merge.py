"""A bundle's settings merged into config files."""

import json
from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from autosinian.mlperf.config_file import config_path, read_config
from autosinian.mlperf.config_merge import write_configs
from autosinian.mlperf.request import Request, settle
from autosinian.mlperf.source import open_source
from tests.mlperf.small_bundle import silent

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0"


def test_what_is_written_is_read_back_as_the_bundle(small_bundle: Bundle, tmp_path: Path) -> None:
    paths = write_configs(small_bundle, tmp_path)
    assert paths == [config_path(tmp_path, "resnet50", s) for s in ("Offline", "SingleStream")]
    source = open_source(small_bundle.folder)
    for scenario in ("Offline", "SingleStream"):
        (serving,) = settle(source, Request(scenario, configs=tmp_path), silent)
        assert serving.config == source.engine
        assert serving.precision == "int8"
    offline = read_config(paths[0]).resolve(serving.system)
    assert offline["gpu_offline_expected_qps"] == 1200.6
    assert "gpu_single_stream_expected_latency_ns" not in offline


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
def test_other_systems_and_the_default_stay(small_bundle: Bundle, tmp_path: Path) -> None:
    path = config_path(tmp_path, "resnet50", "Offline")
    path.parent.mkdir(parents=True)
    path.write_text((PUBLISHED / "config_Offline.json").read_text())
    before = json.loads(path.read_text())
    write_configs(small_bundle, tmp_path)
    after = json.loads(path.read_text())
    (ours,) = set(after) - set(before)
    assert {name: value for name, value in after.items() if name != ours} == before
    # The file's default is of another network: what differs stands in our entry.
    file = read_config(path)
    assert file.resolve(ours)["input_dtype"] == "fp32"
    assert "precision" not in file.systems[ours]


def test_a_systems_own_versions_stay(small_bundle: Bundle, tmp_path: Path) -> None:
    (path, _) = write_configs(small_bundle, tmp_path)
    content = json.loads(path.read_text())
    (system,) = read_config(path).systems
    content[system]["config_ver"] = {"maxq": {"gpu_batch_size": 2}}
    content[system]["gpu_batch_size"] = 999
    path.write_text(json.dumps(content))
    write_configs(small_bundle, tmp_path)
    file = read_config(path)
    assert file.resolve(system)["gpu_batch_size"] == 8
    assert file.resolve(system, "maxq")["gpu_batch_size"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON"),
        ('{"benchmark": "resnet50", "scenario": "Server"}', "must be for resnet50 Offline"),
        ('{"benchmark": "bert", "scenario": "Offline"}', "is for bert Offline"),
        (
            '{"benchmark": "resnet50", "scenario": "Offline", "T4x1": {"x": 1}}',
            "`T4x1`: a key must be one of",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_and_nothing_written(
    small_bundle: Bundle, tmp_path: Path, content: str, message: str
) -> None:
    path = config_path(tmp_path, "resnet50", "Offline")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        write_configs(small_bundle, tmp_path)
    assert path.read_text() == content
    assert not config_path(tmp_path, "resnet50", "SingleStream").exists()
