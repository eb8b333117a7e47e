"""`--worker-python` and `--devices` as they are typed."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from autosinian.cli.main import main
from autosinian.engine.gpu import visible_gpus
from tests.search.conftest import REPOSITORY, SPACE, environment, write_checkpoint

SHIPPED = REPOSITORY / "search_spaces" / "fashion_mnist.yaml"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--devices", "first"],
            "`--devices` must be GPU indices such as 0 or 0,1, but got `first`",
        ),
        (["--worker-python", "'"], "`--worker-python` must be a command line as a shell reads it"),
        (["--worker-python", "/no/python -X dev"], "such as /usr/bin/python3.11, but `/no/python`"),
    ],
)
@pytest.mark.parametrize("command", ["search", "export-best", "verify"])
def test_what_cannot_be_read_is_one_line(
    command: str, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(SHIPPED), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("autosinian: ")
    assert told in lines[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A space whose engine only another interpreter has."""
    write_checkpoint(tmp_path / "tiny.pt")
    text = SPACE.replace("engine: openvino", "engine: only_there:Engine")
    (tmp_path / "tiny.yaml").write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "autosinian", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_engine_of_another_interpreter_is_searched_exported_and_verified(folder: Path) -> None:
    there = folder / "there"
    venv.create(there, with_pip=False, symlinks=True)
    (there / "only_there.py").write_text(
        "from autosinian.engine.openvino import OpenVinoEngine\n"
        "class Engine(OpenVinoEngine):\n"
        "    name = 'only_there:Engine'\n"
    )
    paths = os.pathsep.join([str(there), str(REPOSITORY), sysconfig.get_path("purelib")])
    python = ("--worker-python", f"env 'PYTHONPATH={paths}' {there / 'bin' / 'python'}")

    ended = run(folder, "search", "tiny.yaml", "--trials", "2", "--json", *python)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["measured"] == 2, summary

    short = ("--top", "1", "--rounds", "2", "--duration", "0.1")
    ended = run(folder, "export-best", "tiny", *short, *python)
    assert ended.returncode == 0, ended.stderr
    ended = run(folder, "verify", "studies/tiny/best", "--rounds", "1", "--json", *python)
    checks = json.loads(ended.stdout)["checks"]
    # A busy machine may contradict runs of a tenth of a second; everything else must hold.
    assert all(check["passed"] for check in checks if check["name"] != "performance"), checks


@pytest.mark.parametrize("command", ["search", "export-best", "verify"])
@pytest.mark.skipif(bool(visible_gpus()), reason="tells what is told without a GPU")
def test_a_gpu_that_is_not_there_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(SHIPPED), "--devices", "0"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("autosinian: an NVIDIA GPU must be there")
