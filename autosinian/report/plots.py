"""Plots of a study as plotly figures in plain data: `{"data": [...], "layout": {...}}`."""

from html import escape
from typing import TYPE_CHECKING, Any, Literal

from autosinian.report.figures import amount, comparison, label, read_metric, title
from autosinian.report.words import candidate_words, figure_words, short_words

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome, Record
    from autosinian.space.candidate import Candidate

Figure = dict[str, Any]

# Told apart by shape as well as by colour, and readable on white and on near-black.
FEASIBLE = {"color": "#3b82f6", "symbol": "circle", "size": 8}
INFEASIBLE = {"color": "#8b95a1", "symbol": "x-thin-open", "size": 7, "line": {"width": 1.5}}
REFUSED = {"color": "#8b95a1", "symbol": "line-ew-open", "size": 12, "line": {"width": 1.5}}
BASELINE = {"color": "#d97706", "symbol": "diamond", "size": 13}
BEST = {"color": "#16a34a", "symbol": "star", "size": 17}
FRONT = {"color": "#3b82f6", "width": 2}
BOUND = {"color": "#dc2626", "width": 1, "dash": "dash"}

LOGARITHMIC_FROM = 30.0
"""An axis whose largest value is so many times its smallest is logarithmic."""

EDGE = 0.01
"""Where, as a share of the plot's width, candidates stand that were never timed."""

WORDS_A_LINE = 60


def pareto_figure(outcome: "Outcome") -> Figure:
    """All measured candidates by performance (x) and accuracy (y), with the front's line.

    A candidate whose accuracy was refused before its performance was measured is a dash at the
    left edge.
    """
    x, y = _axes(outcome)
    feasible: list[Record] = []
    infeasible: list[Record] = []
    refused: list[Record] = []
    for record in outcome.records:
        if x in record.metrics and y in record.metrics:
            (feasible if record.feasible else infeasible).append(record)
        elif y in record.metrics:
            refused.append(record)
    front = [record for record in outcome.front if record in feasible]
    front.sort(key=lambda record: _value(x, record.metrics))
    traces = [
        _points("infeasible", infeasible, x, y, outcome, INFEASIBLE),
        _points("feasible", feasible, x, y, outcome, FEASIBLE),
    ]
    if refused:
        edge = _points("not timed", refused, y, y, outcome, REFUSED)
        traces.append({**edge, "x": [EDGE] * len(refused), "xaxis": "x2"})
    if len(outcome.objectives) > 1:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": [_value(x, record.metrics) for record in front],
                "y": [_value(y, record.metrics) for record in front],
                "line": {**FRONT, "shape": _staircase(x, y)},
                "hoverinfo": "skip",
            }
        )
    if x in outcome.reference and y in outcome.reference:
        words = _hover("baseline", outcome.baseline_candidate, outcome.reference, outcome)
        traces.append(_marker("baseline", x, y, outcome.reference, words, BASELINE))
    best = outcome.best
    if best is not None and best in feasible:
        words = _hover(f"best: trial {best.number}", best.candidate, best.metrics, outcome)
        traces.append(_marker("best", x, y, best.metrics, words, BEST))
    xs = [value for trace in traces if "xaxis" not in trace for value in trace["x"]]
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {
            **_layout(),
            "xaxis": _axis(x, xs),
            "xaxis2": {"overlaying": "x", "range": [0, 1], "visible": False, "fixedrange": True},
            "yaxis": _axis(y, []),
            "shapes": _bounds(outcome, {x: "x", y: "y"}),
            "hovermode": "closest",
        },
    }


def history_figure(outcome: "Outcome", over: Literal["trials", "seconds"]) -> Figure:
    """The deciding figure of each feasible trial, and the best so far, over trials or seconds."""
    metric = outcome.deciding_metric
    name = str(metric)

    def place(record: "Record") -> float:
        return float(record.number) if over == "trials" else round(record.elapsed_s, 2)

    records = sorted((r for r in outcome.feasible if name in r.metrics), key=place)
    values = [_value(name, record.metrics) for record in records]
    best: list[float] = []
    for value in values:
        pick = max if metric.maximized else min
        best.append(pick(best[-1], value) if best else value)
    ends = [place(r) for r in outcome.records if r.state in ("measured", "infeasible")]
    places = [place(record) for record in records]
    traces: list[dict[str, Any]] = []
    if records:
        points = _points("feasible", records, name, name, outcome, FEASIBLE)
        text = [_brief_hover(record, outcome) for record in records]
        traces.append({**points, "x": places, "y": values, "text": text})
        last = max(ends)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": [*places, last],
                "y": [*best, best[-1]],
                "line": {"color": BEST["color"], "width": 2, "shape": "hv"},
                "hoverinfo": "skip",
            }
        )
    if name in outcome.reference:
        level = _value(name, outcome.reference)
        span = [0.0, max(ends, default=1.0)]
        line = {"color": BASELINE["color"], "width": 2, "dash": "dot"}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "baseline",
                "x": span,
                "y": [level, level],
                "line": line,
                "hoverinfo": "name+y",
            }
        )
    axis = {"title": {"text": "trial" if over == "trials" else "seconds"}, "rangemode": "tozero"}
    return {
        "data": traces,
        "layout": {
            **_layout(),
            "xaxis": {**_axis_style(), **axis},
            "yaxis": {**_axis(name, []), "rangemode": "tozero"},
            "hovermode": "closest",
        },
    }


def _axes(outcome: "Outcome") -> tuple[str, str]:
    """Performance and accuracy; a search of one objective is shown against the other one."""
    names = list(outcome.objectives)
    if len(names) == 1:
        other = "macs" if names[0] == "accuracy" else "accuracy"
        names.append(other)
    names.sort(key=lambda name: read_metric(name).name == "accuracy")
    return names[0], names[1]


def _staircase(x: str, y: str) -> str:
    """How the edge of what is dominated runs from one point of the front to the next."""
    return "vh" if read_metric(x).maximized == read_metric(y).maximized else "hv"


def _value(name: str, metrics: dict[str, float]) -> float:
    return metrics[name] * (100.0 if read_metric(name).name == "accuracy" else 1.0)


def _points(
    name: str, records: list["Record"], x: str, y: str, outcome: "Outcome", marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_value(x, record.metrics) for record in records],
        "y": [_value(y, record.metrics) for record in records],
        "text": [
            _hover(f"trial {r.number}", r.candidate, r.metrics, outcome, r.reason) for r in records
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": dict(marker),
    }


def _marker(
    name: str, x: str, y: str, metrics: dict[str, float], words: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_value(x, metrics)],
        "y": [_value(y, metrics)],
        "text": [words],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": dict(marker),
    }


def _hover(
    name: str,
    candidate: "Candidate | None",
    metrics: dict[str, float],
    outcome: "Outcome",
    reason: str = "",
) -> str:
    """The lines of a hover box; plotly reads a few HTML tags there, so all else is escaped."""
    lines = [f"<b>{escape(name)}</b>"]
    for metric in _named(metrics, outcome):
        beside = comparison(metric, metrics[metric], outcome.reference.get(metric))
        figure = f"{title(metric)}: {amount(metric, metrics[metric])}"
        lines.append(escape(f"{figure} ({beside})" if beside and name != "baseline" else figure))
    if candidate is not None:
        lines += map(escape, _wrapped(candidate_words(candidate)))
    if reason:
        lines += [f"<i>{escape(line)}</i>" for line in _wrapped(reason)[:4]]
    return "<br>".join(lines)


def _brief_hover(record: "Record", outcome: "Outcome") -> str:
    figures = [
        figure_words(name, record.metrics[name], outcome.reference.get(name))
        for name in outcome.objectives
    ]
    words = [short_words(record.candidate)] if record.candidate is not None else []
    return "<br>".join([f"<b>trial {record.number}</b>", *map(escape, [*figures, *words])])


def _named(metrics: dict[str, float], outcome: "Outcome") -> list[str]:
    """The objectives first, then what else was measured."""
    return [name for name in outcome.objectives if name in metrics] + [
        name for name in metrics if name not in outcome.objectives
    ]


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= WORDS_A_LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word[:WORDS_A_LINE]}".strip()
    return lines


def _bounds(outcome: "Outcome", axes: dict[str, str]) -> list[dict[str, Any]]:
    """A dashed line for each constraint on a figure that has an axis."""
    shapes = []
    for rule in outcome.document.rules:
        name = str(rule.metric)
        # A bound relative to a baseline that is not measured yet is not known.
        if name not in axes or (rule.factor and name not in outcome.reference):
            continue
        bound = _value(name, {name: rule.bound(outcome.reference)})
        along, across = ("x", "y") if axes[name] == "x" else ("y", "x")
        shapes.append(
            {
                "type": "line",
                f"{along}ref": along,
                f"{across}ref": f"{across} domain",
                f"{along}0": bound,
                f"{along}1": bound,
                f"{across}0": 0,
                f"{across}1": 1,
                "line": dict(BOUND),
                "layer": "below",
            }
        )
    return shapes


def _axis(name: str, values: list[float]) -> dict[str, Any]:
    axis = {**_axis_style(), "title": {"text": escape(label(name))}}
    if values and min(values) > 0 and max(values) / min(values) >= LOGARITHMIC_FROM:
        # Minor digits: without them a span of one or two decades has hardly a number.
        axis |= {"type": "log", "dtick": "D2"}
    return axis


def _axis_style() -> dict[str, Any]:
    line = "rgba(128,128,128,0.25)"
    return {"gridcolor": line, "zerolinecolor": line, "automargin": True}


def _layout() -> dict[str, Any]:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#808080", "family": "system-ui, sans-serif"},
        "margin": {"l": 60, "r": 16, "t": 16, "b": 48},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#9ca3af", "activecolor": "#3b82f6"},
        "hoverlabel": {"align": "left"},
    }
