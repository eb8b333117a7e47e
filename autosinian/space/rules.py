"""Objectives and constraints of a search, as data: `accuracy >= 0.99 * reference`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autosinian.errors import InputError

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
LATENCY_PERCENTILES = {"Server": "99.00", "SingleStream": "90.00", "MultiStream": "99.00"}
"""The percentile that MLPerf inference ranks each scenario by; Offline has none."""

SCENARIO_METRICS = ("samples_per_second", "latency_ms")
NETWORK_METRICS = ("accuracy", "macs", "parameters")
MAXIMIZED = ("accuracy", "samples_per_second")

_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_CONSTRAINT = re.compile(
    rf"\s*(?P<metric>[A-Za-z_.]+)\s*(?P<sense>>=|<=)\s*"
    rf"(?:(?P<constant>{_NUMBER})"
    rf"|(?:(?P<factor>{_NUMBER})\s*\*\s*)?reference(?:\s*(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?)\s*"
)


@dataclass(frozen=True)
class Metric:
    """A measured figure: of the network, or of one scenario (`scenario` is empty otherwise).

    `accuracy` is a fraction, `macs` and `parameters` are counts, `samples_per_second` is LoadGen's
    own figure (queries/s in Server), `latency_ms` the scenario's ranking percentile.
    """

    name: str
    scenario: str = ""

    def __str__(self) -> str:
        return f"{self.scenario}.{self.name}" if self.scenario else self.name

    @property
    def maximized(self) -> bool:
        """Whether more of it is better."""
        return self.name in MAXIMIZED

    @classmethod
    def parse(cls, text: str, scenarios: tuple[str, ...]) -> "Metric":
        """Read `accuracy`, `latency_ms` or `Offline.samples_per_second`.

        The scenario may be left out where the search has one. Raises `InputError`.
        """
        scenario, _, name = text.rpartition(".")
        if name in NETWORK_METRICS and not scenario:
            return cls(name)
        if name not in SCENARIO_METRICS:
            known = ", ".join(NETWORK_METRICS + SCENARIO_METRICS)
            raise InputError(f"a metric must be one of {known}, but got `{text}`")
        if not scenario:
            if len(scenarios) != 1:
                raise InputError(
                    f"`{text}` must name its scenario, as in `{scenarios[0]}.{name}`, because the "
                    f"search has {len(scenarios)}"
                )
            scenario = scenarios[0]
        if scenario not in scenarios:
            raise InputError(
                f"the scenario of `{text}` must be one of {', '.join(scenarios)}; add it to "
                "`scenarios` to measure it"
            )
        if name == "latency_ms" and scenario not in LATENCY_PERCENTILES:
            raise InputError(
                f"`{text}` must be of a scenario that has a latency "
                f"({', '.join(LATENCY_PERCENTILES)}); {scenario} is ranked by samples_per_second"
            )
        return cls(name, scenario)


@dataclass(frozen=True)
class Constraint:
    """`metric >= bound` or `<=`, where the bound is `factor * reference + offset`.

    The reference is the baseline's value of the same metric; a constant bound has `factor` 0.
    """

    metric: Metric
    at_least: bool
    factor: float
    offset: float
    text: str

    def bound(self, reference: Mapping[str, float]) -> float:
        """The bound for these reference values. Raises `InputError` for an accuracy above 1."""
        bound = self.factor * reference.get(str(self.metric), 0.0) + self.offset
        if self.metric.name == "accuracy" and self.at_least and bound > 1.0:
            raise InputError(
                f"an accuracy bar must be at most 1, but `{self.text}` is {bound:.4f}; "
                "lower the bar"
            )
        return bound

    def violation(self, value: float, reference: Mapping[str, float]) -> float:
        """How far `value` misses the bound relative to it; zero or less where it holds."""
        bound = self.bound(reference)
        miss = bound - value if self.at_least else value - bound
        return miss / max(abs(bound), 1e-12)

    @classmethod
    def parse(cls, text: str, scenarios: tuple[str, ...]) -> "Constraint":
        """Read one constraint. Raises `InputError`."""
        match = _CONSTRAINT.fullmatch(text)
        if match is None:
            raise InputError(
                "a constraint must look like `accuracy >= 0.93`, `accuracy >= 0.99 * reference` or "
                f"`accuracy >= reference - 0.01`, but got `{text}`"
            )
        metric = Metric.parse(match["metric"], scenarios)
        if match["constant"]:
            factor, offset = 0.0, float(match["constant"])
        else:
            factor = float(match["factor"] or 1.0)
            offset = float(match["offset"] or 0.0) * (-1.0 if match["sign"] == "-" else 1.0)
        constraint = cls(metric, match["sense"] == ">=", factor, offset, " ".join(text.split()))
        if factor == 0.0:
            constraint.bound({})
        return constraint
