"""The figures that stand at the top: the best against the baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autosinian.report.figures import amount, points, read_metric, times, title, unit
from autosinian.report.remeasurement import BundleDetails, Remeasurement

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome


@dataclass(frozen=True)
class Figure:
    """A large figure, what it is, and what it is made of."""

    large: str
    name: str
    detail: str


def headline(outcome: "Outcome", details: BundleDetails | None) -> list[Figure]:
    """Ratio of the deciding figure, and accuracy; re-measured ones where an export has them."""
    deciding = str(outcome.deciding_metric)
    chosen, baseline = _remeasured(details)
    figures = []
    if chosen is not None and baseline is not None:
        figures.append(_ratio(chosen.metric, chosen.mean, baseline.mean, "measured again"))
        if chosen.accuracy is not None and baseline.accuracy is not None:
            where = "on the final validation samples"
            figures.append(_accuracy(chosen.accuracy, baseline.accuracy, where))
        return figures
    best = outcome.best
    if best is None:
        return []
    for name in dict.fromkeys((deciding, *outcome.objectives, "accuracy")):
        value = best.metrics.get(name)
        reference = outcome.reference.get(name)
        if value is None:
            continue
        if reference is None:
            figures.append(Figure(amount(name, value), title(name), "no baseline was measured"))
        elif read_metric(name).name == "accuracy":
            figures.append(_accuracy(value, reference, "on the search's samples"))
        else:
            figures.append(_ratio(name, value, reference, "in its trial"))
    return figures


def _remeasured(
    details: BundleDetails | None,
) -> tuple[Remeasurement | None, Remeasurement | None]:
    entries = [] if details is None else [r for r in details.remeasurements if not r.failure]
    chosen = next((r for r in entries if r.chosen), None)
    return chosen, next((r for r in entries if r.trial is None), chosen and None)


def _ratio(name: str, value: float, reference: float, where: str) -> Figure:
    ratio = times(value / reference) if reference > 0 else amount(name, value)
    words = f"{amount(name, value)} against the baseline's {amount(name, reference)}, {where}"
    scenario = read_metric(name).scenario
    what = unit(name) if read_metric(name).name == "samples_per_second" else title(name)
    return Figure(ratio, f"{scenario} {what}" if what == unit(name) else what, words)


def _accuracy(value: float, reference: float, where: str) -> Figure:
    words = f"{amount('accuracy', value)} against {amount('accuracy', reference)}, {where}"
    return Figure(points(value - reference), "accuracy", words)
