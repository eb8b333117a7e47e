import pytest

from autosinian.data import progress
from autosinian.data.progress import Progress, told_duration


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("work", 10).advance(10)
    assert capsys.readouterr() == ("", "")


def test_long_work_tells_how_far_it_is_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setattr(progress, "INTERVAL_WITHOUT_TERMINAL_S", 0.0)
    Progress("work", 50_000).advance(12_800)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors == "work: 12,800 of 50,000, 0 s left\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    assert told_duration(seconds) == text
