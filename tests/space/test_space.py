import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.measure.serving import serving_tunables
from autosinian.space.candidate import Candidate, EngineConfig, Quantization
from autosinian.space.space import Space
from tests.space.small_supernet import (
    PRECISIONS,
    TEXT,
    TUNABLES,
    SmallSupernet,
    small_document,
    small_space,
)

seeds = st.integers(0, 2**31)


def short(value: object) -> str:
    return str(value) if len(str(value)) < 40 else "text"


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        small_space(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(seeds)
def test_a_candidate_encodes_to_values_that_decode_to_it(seed: int) -> None:
    space = small_space()
    candidate = space.decode(space.sample(random.Random(seed)))
    values = space.encode(candidate)
    assert all(space.dimensions[name].holds(value) for name, value in values.items())
    assert set(values) == set(space.dimensions)
    assert space.decode(values) == candidate
    assert space.decode(values).key == candidate.key


@given(seeds)
def test_genes_of_skipped_blocks_do_not_make_another_candidate(seed: int) -> None:
    space = small_space()
    rng = random.Random(seed)
    values = space.sample(rng) | {"depth_0": 1}
    others = {f"kernel_size_{i}": rng.choice((3, 5, 7)) for i in (1, 2)}
    others |= {f"expand_ratio_{i}": rng.choice((3, 4, 6)) for i in (1, 2)}
    assert space.decode(values | others).key == space.decode(values).key


def test_calibration_does_not_matter_without_int8() -> None:
    space = small_space()
    values = space.sample(random.Random(0)) | {"precision": "fp32"}
    keys = {space.decode(values | {"calibration": c}).key for c in ("minmax", "entropy")}
    assert len(keys) == 1
    values["precision"] = "int8"
    keys = {space.decode(values | {"calibration": c}).key for c in ("minmax", "entropy")}
    assert len(keys) == 2


def test_a_candidate_has_every_tunable_of_the_engine() -> None:
    candidate = small_space().baseline()
    assert dict(candidate.engine.options) == {"streams": 1, "pinning": True}


def test_the_baseline_is_the_largest_network_as_served_without_this_tool() -> None:
    space = small_space(TEXT.replace("precision: [fp32, int8]", "precision: [int8]"))
    baseline = space.baseline()
    assert baseline.subnet == SmallSupernet().largest(32)
    assert baseline.quantization == Quantization("fp32", "none")
    assert baseline.engine.batch_size == 1
    assert space.decode(space.encode(baseline)) != baseline


def test_the_warm_start_is_distinct_and_in_the_space() -> None:
    space = small_space()
    first = space.warm_start()
    assert len({c.key for c in first}) == len(first) >= 8
    for candidate in first:
        assert space.decode(space.encode(candidate)) == candidate
    assert {c.subnet.resolution for c in first} == {28, 32}
    assert {c.quantization.precision for c in first} == {"int8"}


def test_the_extremes_come_first_and_may_come_alone() -> None:
    space = small_space()
    extremes = space.warm_start(uniform=0)
    assert extremes == space.warm_start()[: len(extremes)]
    assert 2 <= len(extremes) <= 5
    assert {c.subnet for c in extremes} >= {
        SmallSupernet().largest(32),
        SmallSupernet().smallest(28),
    }


def test_the_warm_start_is_the_same_every_time() -> None:
    assert small_space().warm_start() == small_space().warm_start()


def test_the_size_is_the_product_of_the_dimensions() -> None:
    space = small_space()
    assert space.size == 3**2 * 3**7 * 3**7 * 2 * 2 * 2 * 64 * 2


def test_an_architecture_may_be_restricted() -> None:
    text = TEXT + "architecture: {depth: [2, 3], kernel_size: [3], resolution: [28]}\n"
    space = small_space(text)
    assert space.dimensions["depth_0"].choices == (2, 3)
    assert space.dimensions["depth_2"].choices == (1,)  # the last stage has no choice
    assert space.dimensions["kernel_size_4"].choices == (3,)
    assert space.resolutions == (28,)


def test_a_resolution_between_the_trained_ones_is_allowed() -> None:
    assert small_space(TEXT + "architecture: {resolution: [30, 28]}\n").resolutions == (28, 30)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (TEXT + "architecture:\n  depth: [9]\n", 11, "must be among [1, 2, 3]"),
        (TEXT + "architecture:\n  kernel_size: [3, 4]\n", 11, "but got 4"),
        (TEXT + "architecture:\n  expand_ratio: [5]\n", 11, "must be among [3, 4, 6]"),
        (TEXT + "architecture:\n  width: [0]\n", 11, "does not have"),
        (TEXT + "architecture:\n  resolution: [16]\n", 11, "28 to 32"),
        (TEXT.replace("[fp32, int8]", "[bf16]"), 6, "has `bf16`"),
        (TEXT + "  stream: 2\n", 10, "is not a tunable of `small`"),
        (TEXT.replace("high: 2", "high: 5"), 9, "must be from 1 to 4"),
        (TEXT + "  pinning: maybe\n", 10, "must be one of [True, False]"),
        (TEXT + "  pinning: [0, 1]\n", 10, "must be one of [True, False]"),
        (TEXT.replace("streams: {low: 1, high: 2}", "streams: true"), 9, "must be from 1 to 4"),
        (TEXT.replace("{low: 1, high: 64, log: true}", "{low: 0, high: 4}"), 8, "at least 1"),
        (TEXT.replace("{low: 1, high: 64, log: true}", "[1, 2.5]"), 8, "whole numbers"),
        (TEXT.replace("{low: 1, high: 64, log: true}", "yes"), 8, "whole numbers"),
        (TEXT.replace("{low: 1, high: 64, log: true}", "-3"), 8, "at least 1"),
    ],
    ids=short,
)
def test_what_the_parts_do_not_have_is_named_with_its_line(text: str, line: int, told: str) -> None:
    message = refused(text)
    assert told in message
    assert message.startswith(f"space.yaml:{line}: ")


def test_a_supernet_of_the_hub_names_no_resolutions() -> None:
    from autosinian.space.space import Space

    document = small_document(TEXT + "architecture: {resolution: [192, 160]}\n")
    space = Space(document, SmallSupernet(resolutions=()), TUNABLES, PRECISIONS)
    assert space.resolutions == (160, 192)


def test_run_lengths_limits_and_paths_do_not_make_another_study() -> None:
    known = small_space().fingerprint()
    same = TEXT.replace("small.pt", "elsewhere/small.pt")
    same = same.replace("{name: fashion_mnist}", "{name: fashion_mnist, path: x}")
    same += "trials: 7\nmeasurement: {time_limit_s: 5}\n"
    assert small_space(same).fingerprint() == known


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (TEXT.replace("high: 64", "high: 65"), "serving"),
        (TEXT.replace("- 0.01", "- 0.02"), "constraints"),
        (TEXT.replace("[accuracy, samples_per_second]", "[accuracy, macs]"), "objectives"),
        (TEXT + "architecture: {depth: [1, 2]}\n", "architecture"),
        (TEXT.replace("fashion_mnist", "cifar10"), "data"),
    ],
    ids=short,
)
def test_what_is_measured_makes_another_study(text: str, key: str) -> None:
    known, other = small_space().fingerprint(), small_space(text).fingerprint()
    assert known[key] != other[key]


def test_another_checkpoint_makes_another_study() -> None:
    other = small_space(supernet=replace(SmallSupernet(), sha256="1" * 64))
    assert other.fingerprint()["supernet_sha256"] != small_space().fingerprint()["supernet_sha256"]


def test_equal_networks_under_other_settings_have_other_keys() -> None:
    candidate = small_space().baseline()
    other = Candidate(
        candidate.subnet, candidate.quantization, EngineConfig.make("small", 1, streams=2)
    )
    assert other.key != candidate.key


def test_the_baseline_is_served_as_the_file_says() -> None:
    served = "baseline: {precision: fp32, batch_size: 4, streams: 2, pinning: false}\n"
    space = small_space(TEXT + served)
    baseline = space.baseline()
    assert baseline.engine.batch_size == 4
    assert dict(baseline.engine.options) == {"streams": 2, "pinning": False}
    assert space.fingerprint() != small_space().fingerprint()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("precision: fp16", "baseline's precision must be"),
        ("no_such_tunable: 3", "must be a tunable"),
        ("streams: 1000", "must be a tunable"),
    ],
)
def test_a_baseline_that_cannot_be_served_is_refused(entry: str, message: str) -> None:
    assert message in refused(f"{TEXT}baseline: {{{entry}}}\n")


def test_the_server_scenario_brings_its_own_settings() -> None:
    space = Space(
        small_document(
            TEXT.replace("batch_size", "deque_timeout_us: [0, 500]\n  batch_size").replace(
                "objectives: [accuracy, samples_per_second]",
                "scenarios: [Server]\nobjectives: [accuracy, Server.samples_per_second]",
            )
        ),
        SmallSupernet(),
        TUNABLES,
        PRECISIONS,
        serving_tunables(("Server",)),
    )
    candidate = space.decode(space.sample(random.Random(0)))
    assert dict(candidate.serving).keys() == {"deque_timeout_us", "in_flight"}
    assert Candidate.from_dict(candidate.to_dict()) == candidate
    assert space.decode(space.encode(candidate)) == candidate
    assert dict(space.baseline().serving) == {"deque_timeout_us": 0, "in_flight": 0}


def test_without_the_server_scenario_its_settings_are_no_tunables() -> None:
    assert "not a tunable" in refused(TEXT.replace("streams", "deque_timeout_us"))
    assert serving_tunables(("Offline", "SingleStream")) == ()
