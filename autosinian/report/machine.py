"""What the GPUs were doing while they were measured, in words and as a table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autosinian.report.markup import Cell, Markup, Row, element, table

if TYPE_CHECKING:
    from autosinian.measure.measurement import Measurement
    from autosinian.search.outcome import Outcome


def gpu_words(gpu: Mapping[str, Any]) -> str:
    """One GPU of `Measurement.machine`: `NVIDIA H200, GPU 0: 1755 of 1980 MHz, 61 °C, ...`."""
    parts = []
    clock = gpu.get("sm_clock_mhz", {})
    if "median" in clock:
        parts.append(f"{clock['median']:g}{_of(clock)} MHz")
    if "max" in (temperature := gpu.get("temperature_celsius", {})):
        parts.append(f"{temperature['max']} °C")
    if "mean" in (power := gpu.get("power_w", {})):
        parts.append(f"{power['mean']:.0f}{_of(power)} W")
    parts += gpu.get("clock_reasons", {})
    others = gpu.get("other_processes", {})
    count = others.get("before", 0) + others.get("came", 0)
    if count:
        parts.append(f"{count} other process{'es' if count > 1 else ''}")
    name = f"{gpu['name']}, " if "name" in gpu else ""
    return f"{name}GPU {gpu['index']}: {', '.join(parts) or 'it tells nothing'}"


def machine_words(machine: Mapping[str, Any]) -> str:
    """Every GPU of `Measurement.machine`; empty where there was none."""
    words = [gpu_words(gpu) for gpu in machine.get("gpus", ())]
    if machine.get("gpus_unknown"):
        words.append(f"not seen: {machine['gpus_unknown']}")
    return "; ".join(words)


def disturbance_words(machine: Mapping[str, Any], disturbance: str) -> str:
    """What disturbed a measurement, and whether it was repeated; empty where nothing did."""
    first = machine.get("repeated_because", "")
    if not first:
        return disturbance
    again = f"again: {disturbance}" if disturbance else "not the second time, which counts"
    return f"{first}; {again}"


def machine_details(outcome: "Outcome") -> Markup:
    """What GPUs did in each trial's measurements; empty where none was watched."""
    rows = [
        _row(str(record.number), record.number, measured)
        for record in outcome.records
        if record.evaluation is not None
        for measured in record.evaluation.measurements
    ]
    if outcome.baseline is not None:
        rows = [_row("baseline", -1, m) for m in outcome.baseline.measurements] + rows
    rows = [row for row in rows if row.cells[2] or row.cells[3]]
    if not rows:
        return Markup("")
    marked = sum(row.style == "out" for row in rows)
    words = f"What the GPUs did: {len(rows)} measurements, {marked} disturbed"
    header = ["trial", "scenario", "GPUs under load (median clock, mean power)", "disturbed"]
    return element("details", element("summary", words), table(header, rows, sortable=True))


def _row(name: str, number: int, measured: "Measurement") -> Row:
    words = machine_words(measured.machine)
    disturbed = disturbance_words(measured.machine, measured.disturbance)
    return Row(
        [
            Cell(name, number),
            measured.scenario,
            Cell(words, style="words") if words else "",
            Cell(disturbed, style="words") if disturbed else "",
        ],
        "out" if measured.disturbance else "",
    )


def _of(figure: Mapping[str, Any]) -> str:
    return f" of {figure['limit']:.0f}" if "limit" in figure else ""
