"""What `int4_resnet50.py` reads of earlier runs and writes of its own: times, floors, tables."""

import csv
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.timing import GpuLayerTimer
from autosinian.int4.known_kernels import FIELDS, KNOWN
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.model_reader import read_model
from autosinian.int4.network import Network

BYTES_PER_SECOND = 3.0e12
MULTIPLY_ADDS_PER_SECOND = 1979e12 / 2
SAME_GPU = ("device", "driver", "torch", "triton")

Key = tuple[str, str, int]


class KnownTimes:
    """A `LayerTimer` that takes what an earlier run measured with the same GPU and versions.

    `launches` tells of each time by shape, output bits and id whether launches overlapped.
    """

    def __init__(
        self, timer: GpuLayerTimer, paths: Sequence[Path], batch: int, about: Mapping[str, str]
    ) -> None:
        self._timer = timer
        self._own = about["launches"]
        self.known: dict[Key, float] = {}
        self.launches: dict[Key, str] = {}
        for path in paths:
            with path.open(newline="") as stream:
                for row in csv.DictReader(stream):
                    if int(row["batch"]) == batch and all(
                        row[name] == about[name] for name in SAME_GPU
                    ):
                        self._take(row)

    def _take(self, row: Mapping[str, str | None]) -> None:
        # A chained time may be less the follower's: not what a launch takes.
        spent = row.get("launch_microseconds") or (
            None if row.get("chained") == "True" else row["microseconds"]
        )
        if spent:
            key = str(row["shape"]), str(row["out_bits"]), int(row["id"] or 0)
            self.known[key] = float(spent) * 1e-6
            self.launches[key] = row.get("launches") or "in turn"

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Compile what is not known."""
        self._timer.prepare([pair for pair in wanted if key(*pair) not in self.known])

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """From the record or measured."""
        place = key(shape, configuration)
        if place not in self.known:
            self.known[place] = self._timer.seconds(shape, configuration, stop_above)
            self.launches[place] = self._own
        return self.known[place]


def key(shape: LayerShape, configuration: Configuration) -> Key:
    """What a row of a layers CSV is found by, beside its batch and GPU."""
    return shape.text, str(shape.out_bits), configuration.id


def floor_seconds(shape: LayerShape, batch: int) -> float:
    """The larger of memory time (each byte once) and tensor-core time."""
    moved = batch * shape.activation_bytes + shape.weight_bytes
    return max(moved / BYTES_PER_SECOND, batch * shape.multiply_adds / MULTIPLY_ADDS_PER_SECOND)


def read(path: Path) -> Network:
    """The network in a folder, or in the folder `model` of a tar archive."""
    if path.is_dir():
        return read_model(path)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
        return read_model(Path(folder) / "model")


def write(path: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """A CSV with the environment in every row."""
    if not rows:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], *about])
        writer.writeheader()
        writer.writerows({**row, **about} for row in rows)


def write_known_kernels(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The shipped table with `rows` in the place of those of the same GPU, batch and shape."""

    def place(row: Mapping[str, Any]) -> tuple[str, int, str]:
        return str(row["device"]), int(row["batch"]), str(row["key"])

    with KNOWN.open(newline="", encoding="utf-8") as stream:
        table: dict[Any, Mapping[str, Any]] = {place(row): row for row in csv.DictReader(stream)}
    table |= {place(row): row for row in rows}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table[name] for name in sorted(table, key=lambda name: name[:2]))
