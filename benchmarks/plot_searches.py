"""Draw hypervolume against evaluations, one panel a problem, from what `compare_searches` wrote.

    python benchmarks/plot_searches.py benchmarks/results/search_quality_runs.csv \
        --output docs/search_quality.svg

Lines are means over the reported seeds, bands one standard deviation on each side.
"""

import argparse
import csv
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from autosinian.content import atomic_file

MARKS = (10, 25, 50, 75, 100, 150, 200, 300, 400, 500)
COLOURS = {
    "joint-earlier": "#000000",
    "joint-warm": "#c1121f",
    "joint": "#f08a5d",
    "linas": "#1d6996",
    "evolution-finder": "#38a6a5",
    "tpe-warm": "#5f4690",
    "tpe": "#94346e",
    "optuna-default": "#73af48",
    "nsga2": "#b08d00",
    "random": "#777777",
}
"""Methods that are drawn, the last of the legend first."""
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 330, 250, 50, 46, 62
TICKS = (10, 25, 50, 100, 200, 500)
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)

Curve = list[tuple[int, float, float]]


def curves(rows: Sequence[dict[str, str]], problem: str, workers: str) -> dict[str, Curve]:
    """For each method its marks with mean and deviation."""
    found: dict[str, Curve] = {}
    for method in COLOURS:
        runs = [
            row
            for row in rows
            if (row["problem"], row["method"], row["workers"]) == (problem, method, workers)
            and int(row["seed"]) >= 100
        ]
        curve: Curve = []
        for mark in MARKS:
            values = [float(r[f"hypervolume_{mark}"]) for r in runs if r[f"hypervolume_{mark}"]]
            if values:
                curve.append((mark, statistics.fmean(values), statistics.pstdev(values)))
        if curve:
            found[method] = curve
    return found


def across(mark: float) -> float:
    """Where a number of evaluations lies, by its logarithm."""
    span = math.log(MARKS[-1] / MARKS[0])
    return PANEL_WIDTH * math.log(mark / MARKS[0]) / span


def down(share: float) -> float:
    """Where a share lies: what is missing to 1, by the square root, so that the top is seen."""
    return PANEL_HEIGHT * math.sqrt(max(1 - share, 0.0))


def panel(title: str, found: dict[str, Curve], x: float, y: float) -> list[str]:
    """One problem's axes, bands and lines."""
    parts = [f'<g transform="translate({x:.0f} {y:.0f})">']
    parts.append(f'<text x="0" y="-10" class="title">{escape(title)}</text>')
    for level in LEVELS:
        at = down(level)
        parts.append(f'<path d="M0 {at:.1f}H{PANEL_WIDTH}" class="grid"/>')
        parts.append(f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{level:g}</text>')
    for tick in TICKS:
        at = across(tick)
        parts.append(f'<path d="M{at:.1f} 0V{PANEL_HEIGHT}" class="grid"/>')
        label = f'<text x="{at:.1f}" y="{PANEL_HEIGHT + 15}" text-anchor="middle">{tick}</text>'
        parts.append(label)
    for method in reversed([name for name in COLOURS if name in found]):
        curve, colour = found[method], COLOURS[method]
        upper = [(across(m), down(min(mean + sd, 1.0))) for m, mean, sd in curve]
        lower = [(across(m), down(max(mean - sd, 0.0))) for m, mean, sd in reversed(curve)]
        middle = [(across(m), down(mean)) for m, mean, _ in curve]
        parts.append(f'<path d="{path([*upper, *lower])}Z" fill="{colour}" opacity="0.14"/>')
        parts.append(f'<path d="{path(middle)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    parts.append("</g>")
    return parts


def path(points: Sequence[tuple[float, float]]) -> str:
    """Points as the data of an SVG path."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def draw(rows: Sequence[dict[str, str]], workers: str) -> str:
    """The whole picture."""
    problems = sorted({row["problem"] for row in rows if row["workers"] == workers})
    columns = 2
    lines = -(-len(problems) // columns)
    width = LEFT + columns * (PANEL_WIDTH + GAP) + 70
    height = TOP + lines * (PANEL_HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        "<style>text{font:11px sans-serif;fill:#222}.title{font-weight:bold;font-size:13px}"
        ".grid{stroke:#ddd;stroke-width:0.7}</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="16">share of the best hypervolume, mean and deviation</text>',
    ]
    drawn: set[str] = set()
    for index, problem in enumerate(problems):
        found = curves(rows, problem, workers)
        drawn |= set(found)
        x = LEFT + (index % columns) * (PANEL_WIDTH + GAP)
        y = TOP + (index // columns) * (PANEL_HEIGHT + GAP)
        parts += panel(problem, found, x, y)
        below = y + PANEL_HEIGHT + 30
        middle = x + PANEL_WIDTH / 2
        parts.append(f'<text x="{middle}" y="{below}" text-anchor="middle">evaluations</text>')
    legend = LEFT + columns * (PANEL_WIDTH + GAP) - 42
    for row, method in enumerate(name for name in COLOURS if name in drawn):
        at = TOP + 12 + 18 * row
        colour = COLOURS[method]
        parts.append(
            f'<path d="M{legend} {at - 4}h16" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{legend + 21}" y="{at}">{method}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="CSV file of runs")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--output", type=Path, required=True, help="SVG file to write")
    options = parser.parse_args()
    with options.runs.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with atomic_file(options.output) as temporary:
        temporary.write_text(draw(rows, options.workers))


if __name__ == "__main__":
    main()
