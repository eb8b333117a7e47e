"""The room of `autosinian int4`: every module in it is a command that explains itself."""

import pkgutil

import pytest

import autosinian.cli.int4 as room
from autosinian.cli.main import main

NAMES = sorted(module.name for module in pkgutil.iter_modules(room.__path__))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["int4", name, "--help"])
    assert end.value.code == 0
    assert "example" in capsys.readouterr().out


def test_the_commands_of_the_room_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["int4", "--help"])
    told = capsys.readouterr().out
    assert {"predict", "preprocess", "run"} <= set(NAMES)
    assert all(name in told for name in NAMES)
