"""HTML from plain data; every text that comes in is escaped here and nowhere else."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Markup:
    """Text that is HTML already."""

    html: str


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, and what it is sorted by (the text itself if None)."""

    shown: "str | Markup"
    key: float | str | None = None
    style: str = ""


@dataclass(frozen=True)
class Row:
    """A table's row with the name of its style (`best`, `out` or none)."""

    cells: Sequence["Cell | str"]
    style: str = ""


def text(value: "str | Markup") -> str:
    """`value` as HTML."""
    return value.html if isinstance(value, Markup) else escape(value, quote=True)


def join(parts: "Iterable[str | Markup]") -> Markup:
    """The parts after one another; plain text among them is escaped."""
    return Markup("".join(map(text, parts)))


def element(name: str, *content: "str | Markup", **attributes: str | None) -> Markup:
    """`<name attributes>content</name>` without the attributes that are None.

    `class_` and `data_x` stand for `class` and `data-x`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(content).html}</{name}>")


def table(header: Sequence[str], rows: Iterable[Row], *, sortable: bool = False) -> Markup:
    """A table; columns whose cells have a number as key stand to the right."""
    body = list(rows)
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row.cells] for row in body]
    numeric = [
        any(isinstance(line[i].key, int | float) for line in cells) for i in range(len(header))
    ]
    heads = [
        element(
            "th",
            element("button", name, type="button") if sortable else name,
            class_="number" if numeric[i] else None,
        )
        for i, name in enumerate(header)
    ]
    lines = []
    for row, line in zip(body, cells, strict=True):
        written = []
        for i, cell in enumerate(line):
            key = text(cell.shown) if cell.key is None else str(cell.key)
            style = f"{'number' if numeric[i] else ''} {cell.style}".strip() or None
            sort_key = key if sortable else None
            written.append(element("td", cell.shown, class_=style, data_key=sort_key))
        lines.append(element("tr", *written, class_=row.style or None))
    inner = [element("tbody", *lines)]
    if any(header):
        inner.insert(0, element("thead", element("tr", *heads)))
    whole = element("table", *inner, class_="sortable" if sortable else None)
    return element("div", whole, class_="scroll")


def json_script(identifier: str, value: Any) -> Markup:
    """Data for a script; no character in it can end the element or start a comment."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    name = escape(identifier, quote=True)
    return Markup(f'<script type="application/json" id="{name}">{written}</script>')
