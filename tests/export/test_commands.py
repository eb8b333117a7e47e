"""`autosinian export-best` and `autosinian verify` as they are typed."""

import argparse
import json
import shutil
from pathlib import Path

import pytest

from autosinian.cli import export_best
from autosinian.cli import verify as verify_command
from autosinian.errors import InputError
from autosinian.export.bundle import Bundle
from tests.export.conftest import Study


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="autosinian")
    subparsers = parser.add_subparsers(required=True)
    export_best.add_parser(subparsers)
    verify_command.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


def test_the_commands_teach_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("export-best", "verify"):
        with pytest.raises(SystemExit):
            run(command, "--help")
        assert "examples:" in capsys.readouterr().out


def test_export_and_verify_as_typed(
    study: Study, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study.folder / "studies" / "tiny" / "best"
    shutil.copytree(bundle.folder, folder)
    short = ("--top", "1", "--rounds", "2", "--duration", "0.1")
    with pytest.raises(InputError, match="`studies/tiny/best` must not exist yet"):
        run("export-best", "tiny", *short)
    assert run("export-best", "tiny", *short, "--force") == 0
    told = capsys.readouterr()
    assert f"exported trial {bundle.result['trial']} of `tiny`" in told.out
    assert "SingleStream latency: p50 " in told.out
    assert "autosinian verify studies/tiny/best" in told.err
    for scenario in ("Offline", "SingleStream"):
        assert f"settings of this system: configs/resnet50/{scenario}/config.json" in told.err
    assert json.loads((folder / "result.json").read_text())["exported"]
    # A busy machine may contradict runs of a tenth of a second; everything else must hold.
    code = run("verify", "studies/tiny/best", "--rounds", "1", "--json")
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert code == (0 if all(check["passed"] for check in checks) else 1)
    assert all(check["passed"] for check in checks if check["name"] != "performance")


def test_a_changed_bundle_ends_with_one(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(bundle.folder, folder)
    (folder / "init").write_bytes(b"")
    assert run("verify", str(folder)) == 1
    told = capsys.readouterr()
    assert "FAILED files: `init` has changed since it was exported" in told.out
    assert "the bundle does not hold: files: `init` has changed" in told.err


def test_a_missing_study_and_a_missing_database_are_told(study: Study) -> None:
    with pytest.raises(InputError, match=r"there is no `studies/absent\.db`"):
        run("export-best", "absent")
    with pytest.raises(InputError, match=r"no study `absent` in this storage \(it has: tiny\)"):
        run("export-best", "absent", "--storage", "sqlite:///studies/tiny.db")
