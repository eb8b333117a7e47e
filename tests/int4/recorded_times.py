"""Times of kernels as an H100 gave them (`benchmarks/results`), for tests of the tuner."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from autosinian.int4.configurations import Configuration
from autosinian.int4.layer_shape import LayerShape

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "int4_layers.csv"
BATCH = 256
SHARED_BYTES = 232448

SHAPES = (
    LayerShape(56, 56, 64, 4, 56, 56, 64, 4),
    LayerShape(56, 56, 256, 4, 56, 56, 64, 4),
    LayerShape(28, 28, 512, 4, 28, 28, 128, 4),
    LayerShape(28, 28, 128, 4, 28, 28, 128, 4, (3, 3), (1, 1), (1, 1)),
)


class RecordedTimer:
    """A `LayerTimer` that plays back; counts what it was asked for. Unknown ids cannot run."""

    def __init__(self) -> None:
        with RECORD.open(newline="") as stream:
            self.times = {
                (row["shape"], int(row["id"])): float(row["microseconds"]) * 1e-6
                for row in csv.DictReader(stream)
                if int(row["batch"]) == BATCH
            }
        self.prepared: list[tuple[LayerShape, Configuration]] = []
        self.asked: list[tuple[LayerShape, Configuration]] = []
        self.stopped = 0
        self.given_up = False

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        self.prepared += wanted
        self.given_up = not wanted

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        self.asked.append((shape, configuration))
        spent = self.times.get((shape.text, configuration.id), math.inf)
        if spent > stop_above:
            self.stopped += 1
            return math.inf
        return spent

    def best(self, shape: LayerShape) -> float:
        """The least time in the record."""
        return min(spent for (text, _), spent in self.times.items() if text == shape.text)
