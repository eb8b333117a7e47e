import json
from pathlib import Path

import pytest

from autosinian.encodings.exceptions import Exceptions, read_exceptions
from autosinian.errors import InputError
from tests.encodings.networks import calibrated


def test_a_file_comes_back(tmp_path: Path) -> None:
    exceptions = Exceptions(("a",), ("b", "c"), ("d",))
    path = tmp_path / "exceptions.json"
    path.write_text(json.dumps(exceptions.to_dict()))
    assert read_exceptions(path) == exceptions
    path.write_text('{"asymmetric_weights": ["a"]}')
    assert read_exceptions(path) == Exceptions(("a",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"asymetric": []}', "`asymetric`"),
        ('{"higher_precision": "conv"}', "list of module names"),
        ('{"higher_precision": [1]}', "list of module names"),
        ("[]", "object"),
        ("{", "JSON"),
    ],
)
def test_what_is_no_list_is_bad_input(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "exceptions.json"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        read_exceptions(path)


@pytest.mark.parametrize(
    ("exceptions", "told"),
    [
        (Exceptions(asymmetric_weights=("box2",)), "no `box2`, did you mean `box`"),
        (Exceptions(asymmetric_weights=("concat",)), "`concat` has no weights"),
        (Exceptions(asymmetric_activations=("conv",)), "`conv` has no encoding"),
        (Exceptions(asymmetric_activations=("softmax",)), "`softmax` has no encoding"),
        (Exceptions(higher_precision=("block",)), "no `block`"),
    ],
)
def test_a_name_that_changes_nothing_is_bad_input(exceptions: Exceptions, told: str) -> None:
    with pytest.raises(InputError, match=told):
        calibrated().placement(exceptions)
