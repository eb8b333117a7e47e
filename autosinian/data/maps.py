"""Map files of MLPerf's image classification: one `name<TAB or space>label` a line."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autosinian.errors import InputError

_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class MapLine:
    """One image of a map: its path inside the image folder, its label, and where it stands."""

    name: str
    label: int | None
    map: Path
    line: int

    @property
    def where(self) -> str:
        """The place in the map, for messages."""
        return f"`{self.map}` line {self.line}"


def read_map(path: Path, *, labels_needed: bool, classes: int | None) -> tuple[MapLine, ...]:
    """The lines of a map in order; blank lines and CRLF are tolerated, comments are not known.

    A line with a tab is split there, so that names may hold spaces; others at spaces. Raises
    `InputError` naming the line for a third column, a missing label where `labels_needed`, a label
    outside `0..classes-1` (any from 0 where `classes` is None), a name twice or one that leaves
    the folder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"map `{path}` does not exist; give the path of an existing map"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"map `{path}` must be a UTF-8 text file, but: {error}") from error
    lines: list[MapLine] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        line = _read_line(raw.strip(), path, number, labels_needed, classes)
        if line.name in seen:
            raise InputError(
                f"{line.where}: an image may be listed once, but `{line.name}` is on line "
                f"{seen[line.name]} already; take one out"
            )
        seen[line.name] = number
        lines.append(line)
    return tuple(lines)


def _read_line(
    text: str, path: Path, number: int, labels_needed: bool, classes: int | None
) -> MapLine:
    where = f"`{path}` line {number}"
    columns = [column.strip() for column in text.split("\t")] if "\t" in text else text.split()
    if len(columns) > 2:
        raise InputError(
            f"{where}: `name<TAB>label` is needed, but `{text}` has {len(columns)} columns"
        )
    name = str(PurePosixPath(columns[0]))
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        raise InputError(f"{where}: names stay inside the image folder, but got `{columns[0]}`")
    if len(columns) == 1:
        if labels_needed:
            raise InputError(
                f"{where}: a label is needed, but `{text}` has none; write `{text}<TAB>label`"
            )
        return MapLine(name, None, path, number)
    if not _INTEGER.fullmatch(columns[1]):
        raise InputError(f"{where}: a label is an integer, but got `{columns[1]}`")
    label = int(columns[1])
    if label < 0 or (classes is not None and label >= classes):
        allowed = "at least 0" if classes is None else f"0..{classes - 1}"
        raise InputError(f"{where}: a label must be {allowed}, but got {label}")
    return MapLine(name, label, path, number)
