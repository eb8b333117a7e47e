"""A system's description."""

import json
from pathlib import Path

import pytest

from autosinian.engine.gpu import Gpu
from autosinian.errors import InputError
from autosinian.mlperf.rules import MAY_BE_EMPTY, SYSTEM_FIELDS
from autosinian.mlperf.submission_system import describe_system, installed, read_fields

IDENTITY = {
    "division": "open",
    "submitter": "Example",
    "status": "available",
    "system_type": "edge",
    "system_name": "box",
}


def describe(*gpus: Gpu, **replaced: str) -> dict[str, str]:
    return describe_system(
        IDENTITY, gpus=gpus, framework="some 1.0", software={"some": "1.0"}, replaced=replaced
    )


def test_every_field_that_must_speak_does() -> None:
    found = describe()
    assert set(found) == set(SYSTEM_FIELDS)
    assert all(found[name] for name in SYSTEM_FIELDS if name not in MAY_BE_EMPTY)
    # The official checker multiplies these two.
    assert int(found["number_of_nodes"]) * int(found["accelerators_per_node"]) == 0
    assert "some 1.0" in found["other_software_stack"]
    assert int(found["host_processor_core_count"]) >= 1


def test_gpus_are_counted_and_named() -> None:
    # No driver knows this one: what it alone tells stays N/A.
    gpu = Gpu(97, "GPU-none", "NVIDIA Example", (9, 0), 80 << 30, "1.0", "13.0")
    found = describe(gpu, gpu)
    assert found["accelerators_per_node"] == "2"
    assert found["accelerator_model_name"] == "NVIDIA Example"
    assert found["accelerator_memory_capacity"] == "80 GB"


def test_what_is_given_replaces_what_was_read_but_not_who_submits() -> None:
    found = describe(cooling="Liquid", host_memory_capacity="1 TB")
    assert (found["cooling"], found["host_memory_capacity"]) == ("Liquid", "1 TB")
    assert {name: found[name] for name in IDENTITY} == IDENTITY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is of type list"),
        ("{", "is not JSON"),
        ('{"submitter": "Me"}', "`submitter` is none that a file may give"),
        ('{"cooling": {}}', r"`cooling` is {}"),
    ],
)
def test_other_files_of_fields_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "fields.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_fields(path)


def test_fields_are_read_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "fields.json"
    path.write_text(json.dumps({"cooling": "Air-cooled", "host_network_card_count": 2}))
    assert read_fields(path) == {"cooling": "Air-cooled", "host_network_card_count": "2"}
    with pytest.raises(InputError, match="cannot be read"):
        read_fields(tmp_path / "none.json")


def test_versions_are_those_of_what_is_installed() -> None:
    assert set(installed(("numpy", "no-such-package"))) == {"numpy"}
