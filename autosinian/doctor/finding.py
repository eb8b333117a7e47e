"""One thing that was read of the machine, and what it means for a measurement."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GOOD = "ok"
NOTE = "note"
WARNING = "warning"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """`status` is `ok`, `note` (worth knowing), `warning` (moves figures) or `unknown`.

    `effect` says what it changes and `advice` what the administrator may do; both are empty where
    there is nothing to say.
    """

    area: str
    name: str
    value: str
    status: str
    effect: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Files:
    """The kernel's files, below `root`; what cannot be read is None."""

    root: Path = Path("/")

    def text(self, name: str) -> str | None:
        """The text of a file, stripped."""
        try:
            return (self.root / name).read_text(errors="replace").strip()
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The number that a file holds."""
        try:
            return int(self.text(name) or "")
        except ValueError:
            return None

    def matching(self, pattern: str) -> dict[str, str]:
        """Text by path of all files that can be read, by name."""
        try:
            found = sorted(self.root.glob(pattern))
        except OSError:
            return {}
        names = [path.relative_to(self.root).as_posix() for path in found]
        return {name: text for name in names if (text := self.text(name)) is not None}


def unknown(area: str, name: str, why: str = "the system does not tell") -> Finding:
    """What could not be read."""
    return Finding(area, name, why, UNKNOWN)


Look = Callable[[], Finding]


def told(area: str, name: str, look: Look) -> Finding:
    """What `look` finds; where it fails, that it is not known."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001  (drivers and kernels fail in ways nobody listed)
        return unknown(area, name, f"cannot be read: {type(error).__name__}: {error}")
