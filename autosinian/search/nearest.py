"""The candidates that come nearest to constraints which nothing has met, and what each misses."""

from autosinian.search.outcome import Outcome, Record

SHOWN = 3


def nearest(outcome: Outcome, most: int = SHOWN) -> list[Record]:
    """Infeasible records by how far they miss all constraints together, the nearest first.

    Those whose figures are known come before those that failed or stopped early.
    """
    finished = [r for r in outcome.records if r.state == "infeasible" and r.candidate is not None]

    def distance(record: Record) -> tuple[bool, float, int]:
        known = record.evaluation is not None and record.evaluation.valid
        missed = sum(max(0.0, violation) for violation in record.violations.values())
        return not known, missed, record.number

    return sorted(finished, key=distance)[:most]


def misses(outcome: Outcome, record: Record) -> str:
    """Which constraint a record misses most and by how much, or why it failed."""
    rules = {rule.text: rule for rule in outcome.document.rules}
    known = {
        text: violation
        for text, violation in record.violations.items()
        if text in rules and violation > 0 and str(rules[text].metric) in record.metrics
    }
    if not known:
        return f"failed: {record.reason or 'no reason recorded'}"
    text = max(known, key=lambda t: known[t])
    bound = rules[text].bound(outcome.reference)
    value = record.metrics[str(rules[text].metric)]
    return f"misses `{text}` by {100 * known[text]:.2g} % ({value:.4g} against {bound:.4g})"


def is_hopeless(outcome: Outcome, effort: int) -> bool:
    """Whether `effort` trials are finished and no constraint set was met by any of them."""
    finished = sum(record.state in ("measured", "infeasible") for record in outcome.records)
    return finished >= effort and outcome.best is None and bool(outcome.document.constraints)


def hopeless_words(outcome: Outcome, effort: int) -> list[str]:
    """What to tell where `is_hopeless`: the effort, then the nearest, each with what it misses."""
    lines = [
        f"no candidate met the constraints in {effort} trials, so the search ends "
        "(`--give-up-after` allows more); the nearest:"
    ]
    for record in nearest(outcome):
        lines.append(f"  trial {record.number} {misses(outcome, record)}")
    return lines
