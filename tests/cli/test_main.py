import subprocess
import sys
import time
from pathlib import Path

import pytest

from autosinian.cli.main import COMMANDS, build_parser, main

HEAVY = ("torch", "optuna", "numpy", "openvino", "onnx", "sqlalchemy", "rich", "psutil")
NAMES = [name.replace("_", "-") for name in COMMANDS]


def run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "autosinian", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert "example" in told
    assert f"autosinian {command}" in told


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert all(name in told for name in NAMES)
    assert "130 interrupted" in told


def test_parsing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from autosinian.cli.main import build_parser; build_parser();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_the_version_is_told() -> None:
    ended = run("--version")
    assert ended.returncode == 0
    assert ended.stdout.startswith("autosinian ")


def test_help_is_quick() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert run("--help").returncode == 0
        return time.perf_counter() - start

    # The figure to reach is 0.5 s on a quiet machine: see benchmarks/overhead.py.
    assert min(seconds() for _ in range(3)) < 2.0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("serach",),
        ("search",),
        ("search", "space.yaml", "--trails", "3"),
        ("search", "space.yaml", "--trials", "many"),
        ("search", "space.yaml", "--sampler", "grid"),
    ],
)
def test_what_is_no_command_ends_with_two(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    assert "usage: autosinian" in capsys.readouterr().err


def test_bad_input_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    ended = run("search", "absent.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("autosinian: a search space must be a readable YAML file")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["export-best", "report", "dashboard"])
def test_a_study_that_does_not_exist_is_one_line(command: str, tmp_path: Path) -> None:
    ended = run(command, "absent", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("autosinian: ")
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "autosinian", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in told


def test_every_command_is_a_module_of_its_own() -> None:
    parser = build_parser()
    assert parser.prog == "autosinian"
    room = Path(__file__).parents[2] / "autosinian" / "cli"
    for command in COMMANDS:
        # A command with commands of its own is a room.
        assert (room / f"{command}.py").exists() or (room / command / "__init__.py").exists()
