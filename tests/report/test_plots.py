from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from autosinian.report.plots import history_figure, pareto_figure
from autosinian.search.outcome import Outcome
from tests.report.example_study import SPACE, SPEED, make_outcome


def traces(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure["data"]}


def test_plotly_accepts_the_figures(outcome: Outcome, empty: Outcome) -> None:
    for study in (outcome, empty):
        go.Figure(pareto_figure(study))
        go.Figure(history_figure(study, "trials"))
        go.Figure(history_figure(study, "seconds"))


def test_the_pareto_plot_shows_every_measured_candidate_once(outcome: Outcome) -> None:
    shown = traces(pareto_figure(outcome))
    assert len(shown["feasible"]["x"]) == len(outcome.feasible)
    timed = [r for r in outcome.records if SPEED in r.metrics]
    assert len(shown["infeasible"]["x"]) == len(timed) - len(outcome.feasible) > 0


def test_candidates_refused_before_they_were_timed_stand_at_the_edge(outcome: Outcome) -> None:
    untimed = [r for r in outcome.records if r.metrics and SPEED not in r.metrics]
    edge = traces(pareto_figure(outcome))["not timed"]
    assert edge["xaxis"] == "x2"
    assert edge["x"] == [0.01] * len(untimed)
    assert edge["y"] == [100 * r.metrics["accuracy"] for r in untimed]


def test_performance_runs_to_the_right_and_accuracy_up(outcome: Outcome) -> None:
    shown = traces(pareto_figure(outcome))
    assert shown["baseline"]["x"] == [outcome.reference[SPEED]]
    assert shown["baseline"]["y"] == [100 * outcome.reference["accuracy"]]


def test_the_front_is_a_line_through_what_nothing_dominates(outcome: Outcome) -> None:
    line = traces(pareto_figure(outcome))["Pareto front"]
    assert len(line["x"]) == len(outcome.front)
    assert line["x"] == sorted(line["x"])
    assert line["y"] == sorted(line["y"], reverse=True)


def test_hovering_tells_the_candidate_in_words(outcome: Outcome) -> None:
    best = outcome.best
    assert best is not None
    (text,) = traces(pareto_figure(outcome))["best"]["text"]
    assert text.startswith(f"<b>best: trial {best.number}</b><br>accuracy: ")
    assert "depth " in text
    assert "points)" in text


def test_hovering_an_infeasible_candidate_tells_why(outcome: Outcome) -> None:
    texts = traces(pareto_figure(outcome))["infeasible"]["text"]
    assert all("missed" in text.replace("<br>", " ") for text in texts)


def test_constraints_on_shown_figures_are_lines(outcome: Outcome) -> None:
    (line,) = pareto_figure(outcome)["layout"]["shapes"]
    assert line["y0"] == line["y1"] == pytest.approx(100 * outcome.reference["accuracy"] - 0.6)
    assert line["xref"] == "x domain"


def test_a_search_of_one_objective_is_shown_against_accuracy(tmp_path: Path) -> None:
    space = SPACE | {"objectives": ["SingleStream.latency_ms"]}
    study = make_outcome(tmp_path, trials=6, space=space)
    figure = pareto_figure(study)
    assert figure["layout"]["xaxis"]["title"]["text"] == "SingleStream latency (ms)"
    assert figure["layout"]["yaxis"]["title"]["text"] == "accuracy (%)"
    assert "Pareto front" not in traces(figure)
    go.Figure(figure)


def test_history_keeps_the_best_so_far(outcome: Outcome) -> None:
    shown = traces(history_figure(outcome, "trials"))
    best = shown["best so far"]["y"]
    assert best == sorted(best)
    assert outcome.best is not None
    assert best[-1] == outcome.best.metrics[SPEED]


def test_history_of_a_latency_goes_down(tmp_path: Path) -> None:
    space = SPACE | {"objectives": ["accuracy", "SingleStream.latency_ms"]}
    study = make_outcome(tmp_path, trials=12, space=space)
    best = traces(history_figure(study, "seconds"))["best so far"]["y"]
    assert best == sorted(best, reverse=True)


def test_a_long_span_gets_a_logarithmic_axis(outcome: Outcome) -> None:
    assert pareto_figure(outcome)["layout"]["xaxis"].get("type") is None
    speeds = {r.number: r.metrics[SPEED] for r in outcome.feasible}
    fastest = max(speeds, key=lambda number: speeds[number])
    outcome.records[fastest].metrics[SPEED] *= 100
    try:
        assert pareto_figure(outcome)["layout"]["xaxis"]["type"] == "log"
    finally:
        outcome.records[fastest].metrics[SPEED] /= 100
