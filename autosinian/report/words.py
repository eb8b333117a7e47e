"""A candidate in words: `depth 2-3-3-1, mostly 3x3, expansion 3.4 mean, 40 px, int8 minmax`."""

from collections import Counter
from typing import TYPE_CHECKING

from autosinian.report.figures import amount, comparison, title, unit
from autosinian.space.candidate import Candidate, EngineConfig, Option, Quantization, Subnet

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome

MOSTLY = 0.6
"""A kernel size that at least this share of the blocks has is named; else the mean is."""

PLURAL_OPTIONS = {"streams": "stream", "threads": "thread"}


def candidate_words(candidate: Candidate) -> str:
    """Network, precision and serving in one line."""
    return ", ".join(
        (
            subnet_words(candidate.subnet),
            quantization_words(candidate.quantization),
            engine_words(candidate.engine),
        )
    )


def short_words(candidate: Candidate) -> str:
    """What fits a terminal's line: depth, resolution, precision, batch size and streams."""
    subnet, engine = candidate.subnet, candidate.engine
    parts = [*_depth(subnet), f"{subnet.resolution} px"]
    parts += [quantization_words(candidate.quantization), f"batch {engine.batch_size}"]
    options = dict(engine.options)
    if "streams" in options:
        parts.append(_option("streams", options["streams"]))
    return ", ".join(parts)


def subnet_words(subnet: Subnet) -> str:
    """`depth 2-3-3-1, mostly 3x3, expansion 3.4 mean, 40 px`; genes that are 0 are not there.

    A fixed network is told by its resolution alone.
    """
    parts = _depth(subnet)
    kernels = [size for size in subnet.ks if size]
    if kernels:
        size, count = Counter(kernels).most_common(1)[0]
        if count == len(kernels):
            parts.append(f"all {size}x{size}")
        elif count >= MOSTLY * len(kernels):
            parts.append(f"mostly {size}x{size}")
        else:
            parts.append(f"kernel {sum(kernels) / len(kernels):.1f} mean")
    ratios = [ratio for ratio in subnet.e if ratio]
    if ratios and len(set(ratios)) == 1:
        parts.append(f"expansion {ratios[0]:g}")
    elif ratios:
        # ResNets' ratios are fractions (0.2, 0.25, 0.35), the others' whole numbers.
        digits = 2 if max(ratios) < 1 else 1
        parts.append(f"expansion {sum(ratios) / len(ratios):.{digits}f} mean")
    if subnet.w:
        parts.append(f"width {'-'.join(map(str, subnet.w))}")
    parts.append(f"{subnet.resolution} px")
    return ", ".join(parts)


def quantization_words(quantization: Quantization) -> str:
    """`fp32`, or `int8 minmax`."""
    if quantization.calibration == "none":
        return quantization.precision
    words = [quantization.precision, quantization.calibration]
    for name, value in quantization.options:
        if name == "equalize" and value:
            words.append("equalized")
        elif name != "equalize" and value:
            words.append(f"{value} {name.removesuffix('_layers')}")
    return " ".join(words)


def engine_words(engine: EngineConfig) -> str:
    """`batch 24, 2 streams`, with every other tunable by its own name."""
    parts = [f"batch {engine.batch_size}"]
    # What counts things reads first.
    options = sorted(engine.options, key=lambda option: (option[0] not in PLURAL_OPTIONS, option))
    return ", ".join(parts + [_option(name, value) for name, value in options])


def _depth(subnet: Subnet) -> list[str]:
    """Nothing for a fixed network, which has no genes."""
    return [f"depth {'-'.join(map(str, subnet.d))}"] if subnet.d else []


def _option(name: str, value: Option) -> str:
    singular = PLURAL_OPTIONS.get(name)
    if singular is not None:
        return f"{value} {singular}" if value == 1 else f"{value} {singular}s"
    words = name.replace("_", " ")
    if value is True:
        return words
    if value is False:
        return f"no {words}"
    return f"{words} {value}"


def describe_outcome(outcome: "Outcome") -> str:
    """What a study found, for people: a few lines."""
    states = [record.state for record in outcome.records]
    counts = ", ".join(
        f"{states.count(state)} {words}"
        for state, words in (
            ("measured", "feasible"),
            ("infeasible", "infeasible"),
            ("lost", "interrupted"),
            ("running", "running"),
        )
        if state in states
    )
    lines = [f"{len(states)} trials of study {outcome.name}: {counts or 'none finished'}"]
    names = outcome.objectives
    if outcome.reference:
        figures = ", ".join(
            figure_words(n, outcome.reference[n]) for n in names if n in outcome.reference
        )
        lines.append(f"baseline: {figures}")
    best = outcome.best
    if best is None:
        lines.append("no candidate met every constraint; search longer, or loosen a constraint")
        return "\n".join(lines)
    reference = outcome.reference
    figures = ", ".join(figure_words(n, best.metrics[n], reference.get(n)) for n in names)
    lines.append(f"best:     {figures}")
    if best.candidate is not None:
        lines.append(f"          trial {best.number}: {candidate_words(best.candidate)}")
    return "\n".join(lines)


def figure_words(name: str, value: float, reference: float | None = None) -> str:
    """`accuracy 91.20 % (-0.42 points)`, `5,210 samples/s (4.21x)`."""
    prefix = "" if title(name).endswith(unit(name)) else f"{title(name)} "
    beside = comparison(name, value, reference)
    words = f"{prefix}{amount(name, value)}"
    return f"{words} ({beside})" if beside else words
