"""What a running search shows on stderr: a live table on a terminal, else a line for each trial."""

import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autosinian.report.figures import cell, duration, label
from autosinian.report.words import figure_words, short_words

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome, Record

TICK_S = 1.0
"""Between two redraws; each takes about 1 ms of a processor that measurements share."""

LINES_AROUND_TABLE = 9
NARROW = 76


@dataclass(frozen=True)
class _Shown:
    """An outcome with what is costly to derive from it, made once for each update."""

    outcome: "Outcome"
    front: list["Record"]
    best: "Record | None"


class LiveView:
    """Shows a search on stderr while it runs; a context manager.

    On a terminal: the front, the best beside the baseline, counts, the stage of the current
    trial, time spent and left. Elsewhere: one plain line for each finished trial. `NO_COLOR` is
    honoured. Between calls it draws once a second.
    """

    def __init__(self, name: str, *, console: Console | None = None) -> None:
        self._name = name
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=False)
        self._drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        self._ticker: threading.Thread | None = None
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._trial: int | None = None
        self._stage = ""
        self._stage_since = self._started
        self._shown: _Shown | None = None
        self._ends: float | None = None
        self._told: set[int] | None = None

    def __enter__(self) -> "LiveView":
        if self._drawn:
            # stdout is left alone: results go there.
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                get_renderable=self._render,
                vertical_overflow="crop",
            )
            self._live.start(refresh=True)
            self._ticker = threading.Thread(target=self._tick, name="live view", daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
        if self._live is not None:
            self._trial = None
            self._stage = ""
            self._ends = None
            self._live.refresh()
            self._live.stop()

    def stage(self, trial_number: int | None, stage: str) -> None:
        """Tell which stage of which trial begins; the baseline's number is None or negative."""
        self._trial, self._stage = trial_number, stage
        self._stage_since = time.monotonic()
        self._refresh()

    def update(self, outcome: "Outcome", remaining_s: float | None = None) -> None:
        """Show what the study has found so far; `remaining_s` is the time left, if known."""
        self._ends = None if remaining_s is None else time.monotonic() + remaining_s
        self._shown = _Shown(outcome, outcome.front, outcome.best)
        if self._drawn:
            self._refresh()
        else:
            self._tell_finished(self._shown, remaining_s)

    def message(self, text: str) -> None:
        """Print a line that stays, above the table."""
        self._console.print(Text(text), soft_wrap=True)

    def _tick(self) -> None:
        while not self._stop.wait(TICK_S):
            self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _tell_finished(self, shown: _Shown, remaining_s: float | None) -> None:
        finished = [r for r in shown.outcome.records if r.state != "running"]
        if self._told is None:
            # What is there at the start was found by an earlier run.
            self._told = {r.number for r in finished}
            if finished:
                self.message(f"{self._name}: {_counts(shown.outcome)} so far")
        for record in finished:
            if record.number not in self._told:
                self._told.add(record.number)
                left = "" if remaining_s is None else f"; about {duration(remaining_s)} left"
                self.message(f"{record_line(record, shown.outcome, shown.best)}{left}")

    def _render(self) -> Group:
        now = time.monotonic()
        parts: list[Text | Table] = [self._heading(now)]
        if self._shown is not None:
            outcome = self._shown.outcome
            if outcome.reference:
                parts.append(Text(f"baseline: {_figures(outcome.reference, outcome, None)}"))
            if self._shown.best is not None:
                best = _figures(self._shown.best.metrics, outcome, outcome.reference)
                parts.append(Text(f"best:     {best}, trial {self._shown.best.number}"))
            if self._shown.front:
                wide = self._console.width >= NARROW
                rows = max(3, self._console.height - LINES_AROUND_TABLE)
                parts.append(front_table(self._shown.front, self._shown.best, outcome, rows, wide))
            else:
                parts.append(Text("no feasible candidate yet", style="yellow"))
        return Group(*parts)

    def _heading(self, now: float) -> Text:
        text = Text(self._name, style="bold", no_wrap=True, overflow="ellipsis")
        if self._stage:
            measured = self._trial is not None and self._trial >= 0
            subject = f"trial {self._trial}" if measured else "baseline"
            since = duration(max(0.0, now - self._stage_since))
            text.append(f"  {subject}: {self._stage} {since}", style="not bold cyan")
        if self._shown is not None:
            text.append(f"\n{_counts(self._shown.outcome)}", style="not bold")
        times = f"elapsed {duration(now - self._started)}"
        if self._ends is not None:
            times += f", about {duration(max(0.0, self._ends - now))} left"
        text.append(f"{', ' if self._shown else '  '}{times}", style="not bold")
        return text


def front_table(
    front: list["Record"], best: "Record | None", outcome: "Outcome", rows: int, wide: bool
) -> Table:
    """The front's records, at most `rows` of them, the best among them.

    In brackets what the figure is to the baseline's; accuracies in percentage points.
    """
    shown = _spread(front, rows, best)
    names = outcome.objectives
    header = ["trial", *map(label, names)]
    lines = [
        [
            f"{'best ' if r is best else ''}{r.number}",
            *(cell(name, r.metrics[name], outcome.reference.get(name)) for name in names),
        ]
        for r in shown
    ]
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for index, name in enumerate(header):
        # Only the candidate's words may be cut on a narrow terminal.
        width = max(len(line[index]) for line in [header, *lines])
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    if wide:
        table.add_column("candidate", no_wrap=True, overflow="ellipsis")
    for record, line in zip(shown, lines, strict=True):
        words = [short_words(record.candidate) if record.candidate else ""] if wide else []
        table.add_row(*map(Text, line + words), style="green" if record is best else "")
    if len(shown) < len(front):
        table.caption = f"{len(shown)} of {len(front)} on the front"
    return table


def record_line(record: "Record", outcome: "Outcome", best: "Record | None") -> str:
    """One finished trial in one line."""
    line = f"trial {record.number}: "
    if record.feasible:
        line += _figures(record.metrics, outcome, outcome.reference)
        if best is not None and record.number == best.number:
            line += ", the best so far"
    elif record.state == "lost":
        line += "interrupted, will be tried again"
    else:
        line += f"infeasible: {' '.join(record.reason.split()) or 'a constraint is missed'}"
    if record.candidate is not None:
        line += f"; {short_words(record.candidate)}"
    return f"{line}; {duration(record.duration_s)}"


def _figures(
    metrics: dict[str, float], outcome: "Outcome", reference: dict[str, float] | None
) -> str:
    return ", ".join(
        figure_words(name, metrics[name], reference.get(name) if reference else None)
        for name in outcome.objectives
        if name in metrics
    )


def _counts(outcome: "Outcome") -> str:
    states = [record.state for record in outcome.records]
    parts = [f"{states.count('measured')} feasible", f"{states.count('infeasible')} infeasible"]
    finished = states.count("measured") + states.count("infeasible")
    if finished:
        parts[0] += f" ({100 * states.count('measured') / finished:.0f} %)"
    parts += [f"{states.count(s)} {s}" for s in ("lost", "running") if s in states]
    return ", ".join(parts)


def _spread(front: list["Record"], rows: int, best: "Record | None") -> list["Record"]:
    """At most `rows` records evenly over the front, its ends and the best among them."""
    if len(front) <= rows:
        return front
    chosen = {round(i * (len(front) - 1) / (rows - 1)) for i in range(rows)}
    index = next((i for i, record in enumerate(front) if record is best), None)
    if index is not None and index not in chosen:
        inner = sorted(chosen)[1:-1]
        chosen.remove(min(inner, key=lambda i: abs(i - index)))
        chosen.add(index)
    return [front[i] for i in sorted(chosen)]
