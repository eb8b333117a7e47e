import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.registry import GROUP, OWN, engine_names, get_engine
from autosinian.errors import InputError

ROOT = Path(__file__).parents[2]


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


def test_engines_of_this_package_are_found_without_being_installed() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from importlib import metadata\n"
        "metadata.entry_points = lambda **_: ()\n"
        "from autosinian.engine.registry import get_engine; print(get_engine('openvino').name)"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"openvino\n"


def test_the_engines_known_without_installation_are_those_of_the_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared[GROUP] == OWN
