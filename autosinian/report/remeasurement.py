"""What an export adds to a study's report: the best few measured again, and what was verified."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Remeasurement:
    """One candidate measured again, interleaved with the others.

    `trial` is its trial's number, None for the baseline. `values` are the single runs of `metric`
    (a qualified name), in order; `low` and `high` bound the confidence interval of their `mean`.
    `chosen` is true for the one that was exported. `accuracy` is the fraction on the final
    validation split, None where that was not measured for this candidate. `failure` says why a
    candidate is out; its figures may be empty or NaN then.
    """

    trial: int | None
    metric: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    chosen: bool = False
    accuracy: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that verification looked at; `detail` says what was expected and found."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class BundleDetails:
    """What `write_report` shows beyond the study for an exported bundle.

    `confidence` is that of the intervals, a fraction. `facts` are further lines of the bundle's
    table, in order: a name and a value as text.
    """

    remeasurements: tuple[Remeasurement, ...] = ()
    confidence: float = 0.95
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
