"""`report.html`: a study, or an exported bundle, on one page that needs nothing but a browser."""

import base64
import hashlib
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from autosinian.content import atomic_file
from autosinian.report.belief import importance_section, noise_section, predictors_section
from autosinian.report.headline import headline
from autosinian.report.markup import Markup, element, join, json_script
from autosinian.report.plots import Figure, history_figure, pareto_figure
from autosinian.report.remeasurement import BundleDetails
from autosinian.report.sections import (
    bundle_section,
    constraints_section,
    failures_section,
    front_section,
    setup_section,
    times_section,
    trials_section,
)
from autosinian.report.words import candidate_words

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome

DEVICE = ("device", "processor")
"""Names under which an engine's versions hold what the figures were measured on."""


def write_report(path: Path, outcome: "Outcome", details: BundleDetails | None = None) -> None:
    """Write the page to `path`, atomically; about 5 MB, of which nearly all is plotly.js.

    `details` are an export's: the page then leads with the figures that were measured again.
    """
    page = report_html(outcome, details)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def report_html(outcome: "Outcome", details: BundleDetails | None = None) -> str:
    """The page as text. Every text that a study carries is escaped."""
    from plotly.offline import get_plotlyjs

    style = _asset("page.css")
    scripts = [get_plotlyjs(), _asset("page.js")]
    # Only these scripts may run, and nothing may be fetched, whatever a study contains.
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_source, scripts))}; "
        "style-src 'unsafe-inline'; img-src data: blob:"
    )
    name = element("title", f"autosinian: {outcome.name}").html
    run = "\n".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{name}
<style>{style}</style>
</head>
<body>
{_body(outcome, details).html}
{run}
</body>
</html>
"""


def _body(outcome: "Outcome", details: BundleDetails | None) -> Markup:
    sections = [_top(outcome, details)]
    if details is not None:
        sections += [_heading("Measured again for the export"), bundle_section(outcome, details)]
    sections += [
        _heading("Accuracy and performance"),
        _plot("pareto", pareto_figure(outcome), "plot tall"),
        element("p", _about_plot(outcome), class_="faint"),
        _heading("Pareto front"),
        front_section(outcome),
        trials_section(outcome),
        _heading("Progress of the search"),
        element(
            "div",
            _plot("trials", history_figure(outcome, "trials"), "plot"),
            _plot("seconds", history_figure(outcome, "seconds"), "plot"),
            class_="plots",
        ),
        _heading("Which constraint bound"),
        constraints_section(outcome),
        _heading("What each gene is worth"),
        importance_section(outcome),
        _heading("How large the noise is"),
        noise_section(outcome),
        _heading("How well the predictors rank"),
        predictors_section(outcome),
        _heading("What failed, and why"),
        failures_section(outcome),
        _heading("Where the time went"),
        times_section(outcome),
        _heading("What was searched, and with what"),
        setup_section(outcome),
    ]
    return join(sections)


def _top(outcome: "Outcome", details: BundleDetails | None) -> Markup:
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    versions = outcome.versions
    device = next((versions[key] for key in DEVICE if key in versions), "")
    seed = "" if outcome.seed is None else f"seed {outcome.seed}"
    version = versions.get("autosinian", "")
    about = [device, f"autosinian {version}" if version else "", seed, date]
    kind = "exported bundle of study" if details is not None else "study"
    parts = [
        element("p", f"autosinian, {kind}", class_="faint"),
        element("h1", outcome.name),
        element("p", " · ".join(filter(None, about)), class_="faint"),
    ]
    figures = headline(outcome, details)
    if not figures:
        parts.append(element("p", "No candidate met every constraint, so there is no best yet."))
        return join(parts)
    cards = [
        element(
            "div",
            element("b", figure.large),
            figure.name,
            element("p", figure.detail, class_="faint"),
            class_="card",
        )
        for figure in figures
    ]
    parts.append(element("div", *cards, class_="cards"))
    chosen = next((r.trial for r in details.remeasurements if r.chosen), None) if details else None
    record = next((r for r in outcome.records if r.number == chosen), outcome.best)
    if record is not None and record.candidate is not None:
        word = "Exported" if chosen is not None else "Best"
        words = candidate_words(record.candidate)
        parts.append(element("p", f"{word}: trial {record.number}, {words}"))
    return join(parts)


def _about_plot(outcome: "Outcome") -> str:
    absent = sum(not r.metrics for r in outcome.records if r.state == "infeasible")
    words = "Dashed lines are constraints; dashes at the edge were refused before they were timed. "
    if absent:
        words += f"Not shown: {absent} trials that failed before anything was measured. "
    return words + "The whole candidate appears where the pointer rests."


def _heading(words: str) -> Markup:
    return element("h2", words)


def _plot(name: str, figure: Figure, style: str) -> Markup:
    place = element("div", class_=style, data_figure=f"figure-{name}", role="img", aria_label=name)
    return element("div", place, json_script(f"figure-{name}", figure))


def _asset(name: str) -> str:
    return (files("autosinian.report") / name).read_text(encoding="utf-8")


def _source(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
