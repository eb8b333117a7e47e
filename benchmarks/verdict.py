"""How the benchmarks that look for what was lost end: one row, and what they complain of."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tell(row: Mapping[str, Any], complaints: Sequence[str], output: Path | None) -> int:
    """Print `row` as JSON and each complaint, add the row to the CSV file; the exit code."""
    print(json.dumps(row))
    for text in complaints:
        print(f"complaint: {text}", file=sys.stderr)
    if output is not None:
        new = not output.exists()
        with output.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
    return 1 if complaints else 0
