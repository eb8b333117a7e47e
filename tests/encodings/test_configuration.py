import json
from pathlib import Path
from typing import Any

import pytest

from autosinian.encodings.configuration import read_configuration, symmetric_configuration
from autosinian.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "qualcomm"


def _content() -> dict[str, Any]:
    return {
        "defaults": {
            "ops": {"is_output_quantized": "True", "is_symmetric": "True"},
            "params": {"is_quantized": "True", "is_symmetric": "True"},
        },
        "params": {"bias": {"is_quantized": "False"}},
        "op_type": {},
        "supergroups": [{"op_list": ["Conv", "Relu"]}, {"op_list": ["Add", "Relu"]}],
        "model_input": {"is_input_quantized": "True"},
        "model_output": {"is_output_quantized": "True"},
    }


def _write(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_what_is_used_without_a_file_is_the_symmetric_configuration(tmp_path: Path) -> None:
    assert read_configuration(_write(tmp_path, _content())) == symmetric_configuration()


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="needs the two published configurations")
def test_the_two_published_configurations_are_read() -> None:
    symmetric = read_configuration(SHARED / "aic100_config_symmetric.json")
    asymmetric = read_configuration(SHARED / "aic100_config_asymmetric.json")
    assert symmetric == symmetric_configuration()
    assert not asymmetric.defaults.ops.is_symmetric
    assert not asymmetric.defaults.params.is_symmetric
    assert asymmetric.supergroups == symmetric.supergroups


def test_strict_symmetric_ranges_are_not_unsigned(tmp_path: Path) -> None:
    content = _content()
    content["defaults"]["strict_symmetric"] = "True"
    configuration = read_configuration(_write(tmp_path, content))
    assert not configuration.defaults.unsigned_symmetric
    content["defaults"]["unsigned_symmetric"] = "True"
    with pytest.raises(InputError, match="exclude each other"):
        read_configuration(_write(tmp_path, content))


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("defaults", "ops", "is_symetric"), "True", r"`defaults\.ops\.is_symetric`"),
        (("defaults", "ops", "is_symmetric"), "yes", r"`defaults\.ops\.is_symmetric`"),
        (("params", "bais"), {"is_quantized": "True"}, r"`params\.bais"),
        (("op_type", "Conv"), {"is_input_quantized": "True"}, r"`op_type\.Conv\.is_input"),
        (("supergroups",), [{"op_list": ["Conv"]}], r"`supergroups\.0\.op_list`"),
        (("params", "bias", "is_quantized"), "True", r"params\.bias\.is_quantized"),
        (("model_inputs",), {}, "`model_inputs`"),
    ],
)
def test_wrong_keys_and_values_are_named(
    tmp_path: Path, place: tuple[str, ...], value: Any, told: str
) -> None:
    content = _content()
    section = content
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with pytest.raises(InputError, match=told):
        read_configuration(_write(tmp_path, content))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_what_is_no_configuration_is_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        read_configuration(path)
    with pytest.raises(InputError, match="missing"):
        read_configuration(tmp_path / "missing.json")
