import subprocess
import sys

import pytest

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.registry import engine_names, get_engine
from autosinian.errors import InputError


def test_openvino_is_found_by_its_entry_point() -> None:
    assert "openvino" in engine_names()
    assert isinstance(get_engine("openvino"), OpenVinoEngine)


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"one of: .*openvino.*did you mean 'openvino'"):
        get_engine("openvno")


def test_an_engine_can_be_given_as_module_and_class() -> None:
    assert isinstance(get_engine("autosinian.engine.openvino:OpenVinoEngine"), OpenVinoEngine)
    with pytest.raises(InputError, match="cannot be imported"):
        get_engine("autosinian.engine.openvino:NoSuchEngine")


def test_names_tunables_and_versions_are_known_without_importing_the_library() -> None:
    code = (
        "import sys; from autosinian.engine import engine_names, get_engine\n"
        "engine = get_engine('openvino'); engine_names(), engine.tunables(), engine.versions()\n"
        "sys.exit('openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
