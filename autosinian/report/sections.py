"""The parts of the report, each a heading with a table or two."""

import json
from typing import TYPE_CHECKING, Any

from autosinian.report.constraints import bindings
from autosinian.report.figures import amount, cell, duration, label, number
from autosinian.report.grouping import group_reasons, median_overhead_s, stage_times
from autosinian.report.machine import machine_details
from autosinian.report.markup import Cell, Markup, Row, element, join, table
from autosinian.report.remeasurement import BundleDetails, Remeasurement
from autosinian.report.words import candidate_words

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome, Record
    from autosinian.space.document import Document

STATES = {"measured": "feasible", "lost": "interrupted"}
TRIALS_NAMED = 12


def front_section(outcome: "Outcome") -> Markup:
    """The front, one line each."""
    front = outcome.front
    if not front:
        return element("p", "No candidate met every constraint.")
    names = outcome.objectives
    rows = [
        Row(
            [
                Cell(f"{record.number} best" if record is outcome.best else str(record.number)),
                *(_figure(name, record, outcome) for name in names),
                _words(record),
            ],
            "best" if record is outcome.best else "",
        )
        for record in front
    ]
    return table(["trial", *map(label, names), "candidate"], rows, sortable=True)


def trials_section(outcome: "Outcome") -> Markup:
    """Every trial in a table that can be sorted by any column, and what GPUs did in each."""
    names = list(dict.fromkeys((*outcome.objectives, *_measured(outcome))))
    rows = []
    for record in outcome.records:
        style = "best" if record is outcome.best else "" if record.feasible else "out"
        cells = [
            Cell(str(record.number), record.number),
            Cell(STATES.get(record.state, record.state)),
            *(_figure(name, record, outcome) for name in names),
            Cell(duration(record.duration_s), round(record.duration_s, 3)),
            _words(record),
            Cell(record.reason, style="words"),
        ]
        rows.append(Row(cells, style))
    header = ["trial", "state", *map(label, names), "time", "candidate", "reason"]
    trials = element(
        "details",
        element("summary", f"All {len(rows)} trials"),
        table(header, rows, sortable=True),
    )
    return join([trials, machine_details(outcome)])


def constraints_section(outcome: "Outcome") -> Markup:
    """Which constraint bound."""
    found = bindings(outcome)
    if not found:
        return element("p", "The search had no constraints.")
    rows = [
        Row(
            [
                b.text,
                b.bound,
                Cell(str(b.refused), b.refused),
                Cell(str(b.alone), b.alone),
                b.best,
                b.slack,
            ]
        )
        for b in found
    ]
    header = ["constraint", "bound", "trials refused", "by it alone", "the best has", "slack"]
    note = element(
        "p",
        "Slack is the best's distance to the bound, in percent of the bound (accuracy: in points). "
        "Near zero, the constraint holds the best back.",
        class_="faint",
    )
    return join([table(header, rows), note])


def failures_section(outcome: "Outcome") -> Markup:
    """What was infeasible and why, grouped."""
    groups = group_reasons(outcome)
    if not groups:
        return element("p", "No trial was infeasible.")
    rows = []
    for group in groups:
        named = ", ".join(map(str, group.trials[:TRIALS_NAMED]))
        more = " …" if len(group.trials) > TRIALS_NAMED else ""
        count = Cell(str(len(group.trials)), len(group.trials))
        rows.append(
            Row([count, Cell(group.example, style="words"), Cell(f"{named}{more}", style="wrap")])
        )
    note = element("p", "Reasons that differ only in numbers are one line.", class_="faint")
    return join([table(["trials", "reason (of the first)", "which"], rows), note])


def times_section(outcome: "Outcome") -> Markup:
    """Where the time went."""
    stages = stage_times(outcome)
    if not stages:
        return element("p", "No trial was measured.")
    rows = [
        Row(
            [
                stage.name,
                Cell(duration(stage.median_s), stage.median_s),
                Cell(f"{100 * stage.share:.1f} %", stage.share),
                Cell(duration(stage.total_s), stage.total_s),
                Cell(str(stage.trials), stage.trials),
            ]
        )
        for stage in stages
    ]
    parts = [table(["stage", "median", "share", "together", "trials"], rows)]
    overhead = median_overhead_s(outcome)
    if overhead is not None:
        words = "Beyond inference and LoadGen's own run time, a feasible trial took "
        parts.append(element("p", f"{words}{duration(overhead)} (median).", class_="faint"))
    return join(parts)


def bundle_section(outcome: "Outcome", details: BundleDetails) -> Markup:
    """The export: the best few measured again, checks, facts."""
    parts: list[Markup] = []
    if details.remeasurements:
        records = {record.number: record for record in outcome.records}
        rows = [_remeasured(entry, records, outcome) for entry in details.remeasurements]
        level = f"{100 * details.confidence:g} % interval"
        metric = details.remeasurements[0].metric
        header = ["trial", label(metric), level, "runs", "accuracy (%)", "candidate"]
        parts.append(table(header, rows))
        words = (
            "The candidates were measured in turn, so that drift of the machine meets all alike."
        )
        parts.append(element("p", words, class_="faint"))
    if details.checks:
        checked = [
            Row(
                [
                    check.name,
                    Cell("passed" if check.passed else "FAILED", style=_verdict(check.passed)),
                    Cell(check.detail, style="words"),
                ]
            )
            for check in details.checks
        ]
        parts.append(table(["check", "result", "detail"], checked))
    if details.facts:
        parts.append(_facts(dict(details.facts)))
    return join(parts)


def setup_section(outcome: "Outcome") -> Markup:
    """What was searched and with which software."""
    document = outcome.document
    facts = {
        "objectives": ", ".join(outcome.objectives),
        "constraints": ", ".join(document.constraints) or "none",
        **_source(document),
        "data": document.data.name,
        "engine": document.engine,
        "seed": "none" if outcome.seed is None else str(outcome.seed),
    }
    if outcome.baseline_candidate is not None:
        facts["baseline"] = candidate_words(outcome.baseline_candidate)
    hidden: dict[str, Any] = {"supernet": True, "data": True, "network": {"source"}}  # have paths
    space = document.model_dump(mode="json", exclude_none=True, exclude=hidden)
    return join(
        [
            _facts(facts | outcome.versions),
            element(
                "details",
                element("summary", "The search space as it was read"),
                element("pre", json.dumps(space, indent=2)),
            ),
        ]
    )


def _source(document: "Document") -> dict[str, str]:
    """The supernet or the network, without the folder it lies in."""
    if document.network is None:
        return {"supernet": (document.supernet or "").rpartition("/")[2]}
    return {"network": document.network.source.rpartition("/")[2]}


def _remeasured(entry: Remeasurement, records: dict[int, "Record"], outcome: "Outcome") -> Row:
    if entry.trial is None:
        candidate = outcome.baseline_candidate
    else:
        candidate = records[entry.trial].candidate if entry.trial in records else None
    name = "baseline" if entry.trial is None else str(entry.trial)
    words = candidate_words(candidate) if candidate is not None else ""
    if entry.failure:
        return Row([name, "", "", "", "", Cell(f"{entry.failure} ({words})", style="words")], "out")
    runs = ", ".join(number(entry.metric, value) for value in entry.values)
    return Row(
        [
            f"{name} exported" if entry.chosen else name,
            Cell(number(entry.metric, entry.mean), entry.mean),
            f"{number(entry.metric, entry.low)} to {amount(entry.metric, entry.high)}",
            Cell(runs, style="wrap"),
            "" if entry.accuracy is None else number("accuracy", entry.accuracy),
            Cell(words, style="words"),
        ],
        "best" if entry.chosen else "",
    )


def _figure(name: str, record: "Record", outcome: "Outcome") -> Cell:
    value = record.metrics.get(name)
    if value is None:
        return Cell("", "")
    return Cell(cell(name, value, outcome.reference.get(name)), value)


def _words(record: "Record") -> Cell:
    words = candidate_words(record.candidate) if record.candidate is not None else ""
    return Cell(words, style="words")


def _measured(outcome: "Outcome") -> list[str]:
    return [name for record in outcome.records for name in record.metrics]


def _facts(facts: dict[str, str]) -> Markup:
    rows = [Row([name, Cell(value, style="words")]) for name, value in facts.items()]
    return table(["", ""], rows)


def _verdict(passed: bool) -> str:
    return "good" if passed else "bad"
