"""What the keys of config.json do, or why they do nothing."""

import json
from pathlib import Path

import pytest

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.protocol import Tunable
from autosinian.mlperf.config_file import read_config
from autosinian.mlperf.config_keys import KEYS, apply_entry

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0"
STREAMS = (Tunable("streams", 1, "", 1, 8), Tunable("graphs", True, "", choices=(True, False)))


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
@pytest.mark.parametrize("scenario", ["Offline", "Server", "SingleStream"])
def test_every_published_key_acts_or_is_named(scenario: str) -> None:
    file = read_config(PUBLISHED / f"config_{scenario}.json")
    for system in file.systems:
        entry = file.resolve(system)
        for key, value in entry.items():
            bare = apply_entry({}, scenario, STREAMS, "x")
            applied = apply_entry({key: value}, scenario, STREAMS, "x")
            # The limit alone says how the queue's timeout counts.
            assert applied != bare or key == "use_deque_limit", key


def test_what_acts_reaches_loadgen_engine_and_queue() -> None:
    entry = {
        "gpu_batch_size": 256,
        "gpu_inference_streams": 2,
        "use_graphs": True,
        "server_target_qps": 801000,
        "deque_timeout_us": 4000,
        "use_deque_limit": True,
        "precision": "int8",
        "performance_sample_count": 2048,
        "warmup_duration": 5,
        "engine_options": {"workspace": 3},
    }
    applied = apply_entry(entry, "Server", STREAMS, "x")
    assert applied.batch_size == 256
    assert applied.precision == "int8"
    assert applied.options == {"streams": 2, "graphs": True, "workspace": 3}
    assert applied.settings == {
        "server_target_qps": 801000,
        "performance_sample_count_override": 2048,
    }
    assert applied.sut == {"deque_timeout_us": 4000, "warmup_s": 5}
    assert applied.idle == ()


def test_without_its_limit_the_queue_waits_for_nothing() -> None:
    entry = {"deque_timeout_us": 4000, "use_deque_limit": False}
    assert apply_entry(entry, "Server", (), "x").sut == {"deque_timeout_us": 0}


def test_what_does_nothing_is_named_with_its_reason() -> None:
    entry = {
        "gpu_copy_streams": 4,
        "start_from_device": True,
        "input_format": "chw4",
        "use_triton": True,
        "server_target_qps": 10,
        "use_graphs": False,
        "gpu_inference_streams": 1,
    }
    applied = apply_entry(entry, "Offline", (), "openvino")
    assert applied.settings == {}
    named = {line.split("`")[1] for line in applied.idle}
    assert named == {
        *("gpu_copy_streams", "start_from_device", "input_format", "use_triton"),
        *("server_target_qps", "use_graphs", "gpu_inference_streams"),
    }
    assert "`gpu_copy_streams` does nothing: engine openvino has no such setting" in applied.idle


def test_samples_on_the_device_where_an_engine_has_the_choice() -> None:
    tunable = Tunable("samples", "host", "", choices=("host", "device"))
    applied = apply_entry({"start_from_device": True}, "Offline", (tunable,), "x")
    assert applied.options == {"samples": "device"}


def test_the_processors_streams_are_the_inference_streams() -> None:
    applied = apply_entry(
        {"gpu_inference_streams": 1}, "Offline", OpenVinoEngine().tunables(), "openvino"
    )
    assert applied.options == {"streams": 1}
    assert json.dumps(sorted(KEYS)) == json.dumps(list(KEYS))
