"""What a run leaves behind: a log of JSON lines, a table of accuracies and its plot."""

import csv
import datetime
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from autosinian.content import atomic_file
from autosinian.data.progress import told_duration
from autosinian.int4.finetune.trade_off import trade_off_svg

LOG = "log.jsonl"
TABLE = "accuracy.csv"
PLOT = "trade_off.svg"
COLUMNS = (
    "network",
    "data",
    "resolution",
    "variant",
    "int8_layers",
    "epochs",
    "seconds",
    "accuracy_search",
    "accuracy_validation",
    "arithmetic",
    "weight_bytes",
    "device",
    "versions",
    "date",
)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's kind."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


class Record:
    """The files of one run in `folder`."""

    def __init__(self, folder: Path, device: torch.device, **common: Any) -> None:
        self.folder = folder
        self._common = {
            **common,
            "device": device_name(device),
            "versions": f"torch {torch.__version__}",
            "date": datetime.date.today().isoformat(),
        }
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, **values: Any) -> None:
        """Add one line to the log; it is on disk when this returns."""
        with (self.folder / LOG).open("a") as stream:
            stream.write(json.dumps(values) + "\n")

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def left(self, what: str, done: float, seconds: float) -> None:
        """Progress of `what` with the time left, from the part done in `seconds`."""
        remaining = seconds / done * (1 - done) if done > 0 else 0.0
        self.say(f"{what}: {done:.0%}, {told_duration(remaining)} left")

    def row(self, **values: Any) -> None:
        """Add a row to the table; table and plot are written anew."""
        self.rows.append({**self._common, **values})
        self._write()

    def amend(self, **values: Any) -> None:
        """Change the last row."""
        self.rows[-1].update(values)
        self._write()

    def _write(self) -> None:
        with atomic_file(self.folder / TABLE) as temporary, temporary.open("w", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        with atomic_file(self.folder / PLOT) as temporary:
            temporary.write_text(trade_off_svg(self.rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people: variant, layers in 8 bits, accuracies in percent, weights in MB."""
    lines = [f"{'variant':<34}{'search %':>10}{'validation %':>14}{'weights MB':>12}"]
    for row in rows:
        validation = row.get("accuracy_validation")
        shown = "" if validation is None else f"{100 * validation:.2f}"
        lines.append(
            f"{row['variant']:<34}{100 * row['accuracy_search']:>10.2f}{shown:>14}"
            f"{row['weight_bytes'] / 1e6:>12.2f}"
        )
    return "\n".join(lines)
