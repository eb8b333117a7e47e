"""Measured figures as text: with a unit, and beside the baseline's."""

from autosinian.space.rules import Metric


def read_metric(name: str) -> Metric:
    """The metric of a qualified name such as `Offline.samples_per_second`."""
    scenario, _, figure = name.rpartition(".")
    return Metric(figure, scenario)


def unit(name: str) -> str:
    """`%`, `samples/s`, `queries/s` (Server's), `ms`, `MACs` or `parameters`."""
    metric = read_metric(name)
    if metric.name == "samples_per_second":
        return "queries/s" if metric.scenario == "Server" else "samples/s"
    units = {"accuracy": "%", "latency_ms": "ms", "macs": "MACs"}
    return units.get(metric.name, metric.name)


def title(name: str) -> str:
    """What an axis or a column is called: `accuracy`, `Offline samples/s`, `Server latency`."""
    metric = read_metric(name)
    words = {"samples_per_second": unit(name), "latency_ms": "latency", "macs": "MACs"}
    return f"{metric.scenario} {words.get(metric.name, metric.name)}".strip()


def label(name: str) -> str:
    """`title` with the unit where it does not end in it: `accuracy (%)`, `Offline samples/s`."""
    words = title(name)
    return words if words.endswith(unit(name)) else f"{words} ({unit(name)})"


def number(name: str, value: float) -> str:
    """`value` as people write it, without the unit; accuracy in percent."""
    figure = read_metric(name).name
    if figure == "accuracy":
        return f"{100 * value:.2f}"
    if figure in ("macs", "parameters"):
        return _si(value)
    return _significant(value)


def amount(name: str, value: float) -> str:
    """`number` with its unit: `91.23 %`, `12,345 samples/s`."""
    return f"{number(name, value)} {unit(name)}"


def comparison(name: str, value: float, reference: float | None) -> str:
    """`value` beside the baseline's: points for accuracy, a ratio for everything else."""
    if reference is None:
        return ""
    if read_metric(name).name == "accuracy":
        return points(value - reference)
    return times(value / reference) if reference > 0 else ""


def cell(name: str, value: float, reference: float | None) -> str:
    """A table's cell: the number and, in brackets, what it is to the baseline's."""
    beside = comparison(name, value, reference).removesuffix(" points")
    return f"{number(name, value)} ({beside})" if beside else number(name, value)


def points(difference: float) -> str:
    """A difference of accuracies (fractions) in percentage points: `-0.42 points`."""
    rounded = round(100 * difference, 2)
    return f"{'-' if rounded < 0 else '+'}{abs(rounded):.2f} points"


def times(ratio: float) -> str:
    """`4.213` as `4.21x`: three digits that matter."""
    digits = 0 if ratio >= 99.95 else 1 if ratio >= 9.995 else 2 if ratio >= 0.9995 else 3
    return f"{ratio:,.{digits}f}x"


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def _significant(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    for digits, limit in ((1, 100), (2, 1), (3, 0.1), (4, 0.01)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.3g}"


def _si(value: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {letter}"
    return f"{value:g}"
