"""What LoadGen's summary says, in its own digits."""

import re
from dataclasses import dataclass
from pathlib import Path

from autosinian.measure.logs import find_log

_LINE = re.compile(r"(?P<name>[^:]+?)\s*:\s*(?P<text>\S.*)")
_EARLY = re.compile(r"Early stopping (?P<which>\S+ percentile) estimate: (?P<text>\d+)")


@dataclass(frozen=True)
class Figure:
    """One figure: LoadGen's name of it and its digits as they stand in the summary."""

    name: str
    text: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)


@dataclass(frozen=True)
class Summary:
    """The head of a summary. `figure` and `result` are absent where nothing was timed.

    `early_stopping` is LoadGen's estimate of the same percentile, which MLPerf ranks the streams
    by, where it makes one. `advice` are its lines on an INVALID run.
    """

    figure: Figure | None
    result: str
    early_stopping: Figure | None
    advice: tuple[str, ...]


def read_summary(folder: Path) -> Summary:
    """The summary of the newest run in a folder."""
    log = find_log(folder, "summary")
    lines = [] if log is None else log.read_text(errors="replace").splitlines()
    figure, result, early = None, "", None
    advice: list[str] = []
    after_mode = advising = False
    for line in lines:
        if match := _EARLY.search(line):
            name = f"Early stopping {match['which']} estimate (ns)"
            early = early or Figure(name, match["text"])
        if line.startswith("Additional Stats"):
            break
        match = _LINE.fullmatch(line)
        name = match["name"] if match else ""
        if match and after_mode:
            figure = Figure(name, match["text"])
        after_mode = name == "Mode"
        if match and name == "Result is":
            result = match["text"]
        advising = line.startswith("Recommendations:") or (advising and line.startswith(" *"))
        if advising and line.startswith(" *"):
            advice.append(line.removeprefix(" *").strip())
    # The first estimate is that of the percentile the scenario is ranked by.
    if figure is None or "percentile" not in figure.name:
        early = None
    return Summary(figure, result, early, tuple(advice))
