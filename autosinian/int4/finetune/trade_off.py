"""The trade-off of mixed precision as an SVG: accuracy over bytes of weights."""

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 70, 50, 30, 30
INK, FLOAT, POINT = "#6b7280", "#d97706", "#2563eb"
LEAST_SPAN = 1.0  # percent


def trade_off_svg(rows: Sequence[dict[str, Any]]) -> str:
    """A plot of the rows that have a validation accuracy; the float network is a dashed line."""
    judged = [row for row in rows if "accuracy_validation" in row]
    points = [row for row in judged if row["variant"] != "float"]
    floats = [row for row in judged if row["variant"] == "float"]
    values = [100 * float(row["accuracy_validation"]) for row in judged] or [0.0]
    low = min(values) - 0.1 * max(LEAST_SPAN, max(values) - min(values))
    high = max(max(values), low + LEAST_SPAN)
    greatest = max((float(row["weight_bytes"]) for row in points), default=1.0) * 1.1

    def x(row: dict[str, Any]) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * float(row["weight_bytes"]) / greatest

    def y(percent: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (percent - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>',
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "weights that may have 4 bits, MB"),
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 16 {HEIGHT / 2})">validation accuracy, %</text>',
    ]
    for step in range(5):
        percent, part = low + (high - low) * step / 4, step / 4
        parts.append(_text(LEFT - 6, y(percent) + 4, f"{percent:.2f}", "end"))
        place = LEFT + (WIDTH - LEFT - RIGHT) * part
        parts.append(_text(place, HEIGHT - BOTTOM + 16, f"{greatest * part / 1e6:.2f}"))
    for row in floats:
        height = y(100 * row["accuracy_validation"])
        parts.append(
            f'<path d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}" stroke="{FLOAT}" '
            'stroke-dasharray="6 4"/>'
        )
        parts.append(_text(WIDTH - RIGHT, height - 6, "float32", "end"))
    for row in points:
        height = y(100 * row["accuracy_validation"])
        parts.append(f'<circle cx="{x(row):.1f}" cy="{height:.1f}" r="4" fill="{POINT}"/>')
        parts.append(_text(x(row), height + 18, row["variant"]))
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
