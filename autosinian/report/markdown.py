"""Notes on a trial and on a study in Markdown, for the Optuna dashboard."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autosinian.report.constraints import bindings
from autosinian.report.figures import cell, comparison, duration, label, number
from autosinian.report.machine import disturbance_words, machine_words
from autosinian.report.words import candidate_words, describe_outcome

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome, Record

FRONT_ROWS = 20
REASON_LIMIT = 1000

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&-])")


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def trial_note(
    record: "Record",
    reference: Mapping[str, float],
    links: Mapping[str, str],
) -> str:
    """One trial: its candidate in words, figures beside the baseline's, stages, files.

    `links` maps a file's name to where the dashboard serves it.
    """
    states = {"measured": "feasible", "lost": "interrupted"}
    parts = [f"**{states.get(record.state, record.state)}**"]
    if record.candidate is not None:
        parts = [f"**{plain(candidate_words(record.candidate))}**", *parts]
    if record.reason:
        parts[-1] += f": {plain(record.reason[:REASON_LIMIT])}"
    if record.metrics:
        rows: list[tuple[Any, ...]] = [
            (label(name), number(name, value), *_beside(name, value, reference))
            for name, value in record.metrics.items()
        ]
        parts.append(_table(("figure", "this trial", "baseline", "against it"), rows))
    missed = [(name, v) for name, v in record.violations.items() if v > 0]
    if missed:
        rows = [(name, f"{100 * violation:.2f} %") for name, violation in missed]
        parts.append(_table(("constraint missed", "by"), rows))
    evaluation = record.evaluation
    if evaluation is not None and evaluation.stage_s:
        rows = [(stage, duration(seconds)) for stage, seconds in evaluation.stage_s.items()]
        rows.append(("beyond inference and LoadGen", duration(evaluation.overhead_s)))
        parts.append(_table(("stage", "time"), rows))
    if evaluation is not None:
        seen = [
            (m.scenario, machine_words(m.machine), disturbance_words(m.machine, m.disturbance))
            for m in evaluation.measurements
        ]
        rows = [row for row in seen if any(row[1:])]
        if rows:
            parts.append(_table(("scenario", "GPUs", "disturbed"), list(rows)))
    if record.candidate is not None:
        subnet = record.candidate.subnet
        genes = {"d": subnet.d, "ks": subnet.ks, "e": subnet.e, "w": subnet.w}
        lines = [f"{name}: {' '.join(map(str, gene))}" for name, gene in genes.items() if gene]
        if lines:  # a fixed network has no genes
            parts.append("```\n" + "\n".join(lines) + "\n```")
    if links:
        parts.append(" · ".join(f"[{plain(name)}]({path})" for name, path in links.items()))
    return "\n\n".join(parts) + "\n"


def study_note(outcome: "Outcome") -> str:
    """The study: what was found, the front, what refused trials."""
    name = plain(outcome.name)
    parts = [plain(line) for line in describe_outcome(outcome).splitlines()]
    front = outcome.front
    if front:
        names = outcome.objectives
        header = ("trial", *map(label, names), "candidate")
        rows: list[tuple[Any, ...]] = [
            (
                f"**{r.number} best**" if r is outcome.best else r.number,
                *(cell(n, r.metrics[n], outcome.reference.get(n)) for n in names),
                plain(candidate_words(r.candidate)) if r.candidate else "",
            )
            for r in front[:FRONT_ROWS]
        ]
        parts.append("**Pareto front**\n\n" + _table(header, rows, escaped=True))
        if len(front) > FRONT_ROWS:
            parts.append(f"{len(front) - FRONT_ROWS} more are in the table of trials")
    rows = [(b.text, b.bound, b.refused, b.best) for b in bindings(outcome)]
    if rows:
        parts.append(_table(("constraint", "bound", "trials refused", "the best has"), rows))
    parts.append(f"`autosinian export-best {name}` writes the best as a bundle")
    return "\n\n".join(parts) + "\n"


def _beside(name: str, value: float, reference: Mapping[str, float]) -> tuple[str, str]:
    if name not in reference:
        return "", ""
    return number(name, reference[name]), comparison(name, value, reference[name])


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]], *, escaped: bool = False) -> str:
    lines = [header, ("---",) * len(header)]
    lines += [tuple(str(c) if escaped else plain(str(c)) for c in row) for row in rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
