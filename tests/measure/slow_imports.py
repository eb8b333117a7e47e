"""What tests of workers know of `slow_library`, whose import takes a while and is written down."""

from pathlib import Path

SLOW = ["tests.measure.slow_library"]
IMPORT_S = 1.0


def importers(log: Path) -> list[int]:
    """The processes that began to import it, in order."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []
