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
from autosinian.int4.finetune.step_profile import StepProfile
from autosinian.int4.finetune.trade_off import trade_off_svg

LOG = "log.jsonl"
TABLE = "accuracy.csv"
PROFILE = "profile.csv"
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

    def profile(self, stage: str, found: StepProfile) -> None:
        """Add a stage's step to the file of profiles and say its figures."""
        path = self.folder / PROFILE
        new = not path.exists()
        batch, update, after = found.part_host_ms
        own = {
            "a step": (1.0, found.step_ms),
            "issued by the host": (1.0, found.host_ms),
            "issued: batch": (1.0, batch),
            "issued: update": (1.0, update),
            "issued: after": (1.0, after),
            "all kernels": (found.kernels, found.device_ms),
        }
        named = [(name, calls, ms) for name, (calls, ms) in own.items()]
        common = [self._common[name] for name in ("device", "versions", "date")]
        with path.open("a", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            if new:
                writer.writerow(("stage", "what", "calls", "ms", "device", "versions", "date"))
            for name, calls, ms in [*named, *found.longest]:
                writer.writerow((stage, name, f"{calls:.1f}", f"{ms:.3f}", *common))
        self.say(f"{stage}: " + ", ".join(f"{name} {ms:.2f} ms" for name, (_, ms) in own.items()))
        for name, calls, ms in found.longest:
            self.say(f"  {ms:8.3f} ms {calls:7.1f} x {name[:100]}")

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
