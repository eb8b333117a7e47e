import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from autosinian.report.live import LiveView, front_table, record_line
from autosinian.search.outcome import Outcome


def terminal(width: int = 100, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, highlight=False
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def so_far(outcome: Outcome, count: int) -> Outcome:
    return replace(outcome, records=outcome.records[:count])


def test_without_a_terminal_each_finished_trial_is_one_plain_line(
    outcome: Outcome, capfd: pytest.CaptureFixture[str]
) -> None:
    with LiveView("example") as view:
        view.update(so_far(outcome, 0))
        for count in range(1, 8):
            view.stage(count - 1, "performance Offline")
            view.update(so_far(outcome, count), 60.0 * (8 - count))
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 7
    assert "\x1b" not in captured.err
    assert all(line.startswith(f"trial {n}: ") for n, line in enumerate(lines))
    assert lines[0].endswith("; about 7 min 00 s left")
    assert "samples/s (" in lines[0]
    assert "infeasible: performance: no result within 305 s" in lines[5]


def test_a_resumed_study_is_told_in_one_line(
    outcome: Outcome, capfd: pytest.CaptureFixture[str]
) -> None:
    with LiveView("example") as view:
        view.update(so_far(outcome, 20))
        view.update(so_far(outcome, 21))
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("example: ")
    assert len(lines) == 2
    assert lines[1].startswith("trial 20: ")


def test_the_terminal_shows_front_baseline_stage_and_time_left(outcome: Outcome) -> None:
    console = terminal()
    with LiveView("example", console=console) as view:
        view.update(outcome, 125.0)
        view.stage(24, "accuracy")
    shown = written(console)
    assert "trial 24: accuracy" in shown
    assert "about 2 min 0" in shown
    assert "baseline: accuracy" in shown
    assert outcome.best is not None
    assert f"best {outcome.best.number}" in shown
    assert "12 feasible (55 %), 10 infeasible, 2 lost" in shown


def test_no_color_is_honoured(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal()
    with LiveView("example", console=console) as view:
        view.update(outcome)
        view.stage(None, "build")
    assert "baseline: build" in written(console)
    assert not any(f"\x1b[{code}m" in written(console) for code in (32, 33, 36))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(outcome: Outcome, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=24)
    console.print(front_table(outcome.front, outcome.best, outcome, 10, wide=width >= 76))
    assert max(map(len, written(console).splitlines())) <= width


def test_a_long_front_is_thinned_out_and_keeps_its_ends_and_the_best(outcome: Outcome) -> None:
    front = outcome.feasible
    best = front[5]
    console = Console(file=io.StringIO(), width=120)
    console.print(front_table(front, best, outcome, 4, wide=True))
    shown = written(console)
    assert f"4 of {len(front)} on the front" in shown
    for record in (front[0], best, front[-1]):
        assert f"{record.number}  " in shown


def test_texts_of_a_study_are_not_read_as_style(outcome: Outcome) -> None:
    reason = "[red]worker[/red] died\nwith 2 lines"
    record = replace(outcome.records[5], reason=reason)
    console = Console(file=io.StringIO(), width=200)
    LiveView("x", console=console).message(record_line(record, outcome, None))
    assert "infeasible: [red]worker[/red] died with 2 lines;" in written(console)


def test_a_message_stays_above_the_table(outcome: Outcome) -> None:
    console = terminal()
    with LiveView("example", console=console) as view:
        view.update(outcome)
        view.message("interrupted")
    assert written(console).count("interrupted") == 1


def test_an_error_inside_leaves_the_terminal_in_order(outcome: Outcome) -> None:
    console = terminal()
    with pytest.raises(KeyboardInterrupt), LiveView("example", console=console) as view:
        view.update(outcome)
        raise KeyboardInterrupt
    assert written(console).rstrip("\n").endswith("\x1b[?25h")


def test_waiting_costs_hardly_any_processor_time(outcome: Outcome) -> None:
    with LiveView("example", console=terminal()) as view:
        view.update(outcome, 100.0)
        start = time.process_time()
        time.sleep(2.2)
        assert time.process_time() - start < 0.05
