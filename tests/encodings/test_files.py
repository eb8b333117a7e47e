import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autosinian.encodings.configuration import symmetric_configuration
from autosinian.encodings.encoding import Encodings, encode_range, encode_wide
from autosinian.encodings.exceptions import Exceptions
from autosinian.encodings.files import from_content, read_encodings, to_content, write_encodings
from autosinian.errors import InputError
from tests.encodings.networks import calibrated


def _encodings() -> Encodings:
    subject = calibrated(symmetric_configuration(per_channel=True))
    return subject.encodings(Exceptions(asymmetric_activations=("concat",)))


def test_json_and_yaml_hold_the_same_and_come_back(tmp_path: Path) -> None:
    encodings = _encodings()
    json_file, yaml_file = write_encodings(tmp_path / "net.encodings", encodings)
    assert yaml_file.name == "net.encodings.yaml"
    assert json.loads(json_file.read_text()) == yaml.safe_load(yaml_file.read_text())
    assert read_encodings(json_file) == read_encodings(yaml_file) == encodings


def test_keys_and_types_are_those_of_the_published_files() -> None:
    content = to_content(_encodings())
    assert list(content) == ["activation_encodings", "param_encodings"]
    types = {
        "bitwidth": int,
        "is_symmetric": str,
        "max": float,
        "min": float,
        "offset": int,
        "scale": float,
    }
    for section in content.values():
        for entries in section.values():
            for entry in entries:
                assert {key: type(value) for key, value in entry.items()} == types
                assert entry["is_symmetric"] in ("True", "False")
    assert len(content["param_encodings"]["conv.weight"]) == 8
    (bias,) = content["param_encodings"]["conv.bias"]
    assert bias["bitwidth"] == 32
    assert content["activation_encodings"]["concat"][0]["is_symmetric"] == "False"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bitwidth", 0),
        ("bitwidth", "8"),
        ("bitwidth", True),
        ("is_symmetric", True),
        ("max", float("nan")),
        ("max", 10**400),
        ("offset", 0.5),
        ("offset", 3),
        ("scale", 0.0),
        ("scale", 1e-9),
    ],
)
def test_a_wrong_entry_is_named(key: str, value: Any) -> None:
    content = to_content(_encodings())
    content["activation_encodings"]["relu"][0][key] = value
    with pytest.raises(InputError, match="net: `relu`"):
        from_content(content, "net")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"activation_encodings": {}}', "{", "a: b: c", "&a [*a]", "!!python/x {}"]
)
def test_what_is_no_encodings_file_is_bad_input(tmp_path: Path, text: str) -> None:
    for name in ("net.encodings", "net.encodings.yaml"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="net"):
            read_encodings(tmp_path / name)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["activation_encodings", "param_encodings", "bitwidth", "scale", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
@settings(max_examples=50)
def test_any_other_content_is_refused_in_one_line(content: Any) -> None:
    if content == {"activation_encodings": {}, "param_encodings": {}}:
        return
    with pytest.raises(InputError) as caught:
        from_content(content, "net")
    assert "\n" not in str(caught.value).replace("\\n", "")


@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.tuples(st.floats(-9, 9), st.floats(0, 9))),
    st.booleans(),
)
def test_any_encodings_come_back(ranges: dict[str, tuple[float, float]], symmetric: bool) -> None:
    activations = {
        name: (encode_range(low, low + width, symmetric=symmetric),)
        for name, (low, width) in ranges.items()
    }
    parameters = {
        name: (encode_wide(low, low + width, symmetric=symmetric),)
        for name, (low, width) in ranges.items()
    }
    encodings = Encodings(activations, parameters)
    assert from_content(json.loads(json.dumps(to_content(encodings))), "net") == encodings
