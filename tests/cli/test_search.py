from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.cli.main import main
from autosinian.cli.search import parse_time, study_name
from autosinian.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2h", 7200),
        ("0.5h", 1800),
        ("1h0m5s", 3605),
        (" 5m ", 300),
    ],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "0", "0s", "-5", "1d", "5 m", "1m1h", "1e3", "nan"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a time must"):
        parse_time(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    expected = hours * 3600 + minutes * 60 + seconds
    assert parse_time(f"{hours}h{minutes}m{seconds}s") == expected


def test_a_study_is_named_after_its_file() -> None:
    assert study_name(Path("spaces/fashion_mnist.yaml"), None) == "fashion_mnist"
    assert study_name(Path("x.yaml"), "mine-1.0") == "mine-1.0"


@pytest.mark.parametrize(
    "name", ["", "a b", "../up", "-x", ".hidden", "a/b", "é", "x" * 101, "a\n"]
)
def test_a_name_that_files_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a study's name must be"):
        study_name(Path("space.yaml"), name)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--time", "soon"], "a time must look like"),
        (["--trials", "0"], "`--trials` must be at least 1"),
        (["--study", "a b"], "a study's name"),
        (["--storage", "nothing://x"], "the storage must be a database"),
        (["--storage", "postgresql://u:secret@127.0.0.1:1/db"], "the storage must be a database"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Path(__file__).parents[2] / "search_spaces" / "fashion_mnist.yaml"
    assert main(["search", str(shipped), *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("autosinian: ")
    assert told in line
    assert "secret" not in line
