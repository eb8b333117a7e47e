import argparse
from pathlib import Path

import pytest

from autosinian.cli import report
from autosinian.errors import InputError
from tests.report.example_study import make_study


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    report.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["report", *arguments])
    return int(parsed.run(parsed))


def test_the_page_is_written_beside_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path, trials=2)
    assert run("example") == 0
    printed = capsys.readouterr()
    assert printed.out == "studies/example/report.html\n"
    assert printed.err.startswith("2 trials of study example")
    assert (tmp_path / printed.out.strip()).read_text().startswith("<!doctype html>")


def test_what_cannot_be_read_or_written_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path, trials=1)
    with pytest.raises(InputError, match=r"there is no `studies/other.db`"):
        run("other")
    with pytest.raises(InputError, match="no study `other` in this storage"):
        run("other", "--storage", f"sqlite:///{tmp_path / 'studies' / 'example.db'}")
    with pytest.raises(InputError, match="must be a file, but"):
        run("example", "--out", str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a file that can be written"):
        run("example", "--out", str(tmp_path / "file" / "report.html"))
