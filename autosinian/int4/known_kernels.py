"""Kernels that were the fastest where a network was tuned: what runs without an autoconfig file.

`known_kernels.csv` has a line for each GPU model, batch size and shape of a tuned network
(`benchmarks/int4_resnet50.py` makes them). A shape of another network that equals one of these
takes as long, so that lines serve any network.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from autosinian.content import content_key
from autosinian.int4.configurations import Configuration, configuration, refusal
from autosinian.int4.layer_shape import LayerShape

KNOWN = Path(__file__).with_name("known_kernels.csv")
FIELDS = ("device", "batch", "shape", "key", "id")

_KEY_DIGITS = 16
_FARTHEST = 16
"""A batch this many times larger or smaller than a tuned one still takes its kernels."""


def shape_key(shape: LayerShape) -> str:
    """What tells shapes apart whose texts are the same."""
    return content_key(asdict(shape))[:_KEY_DIGITS]


def known_rows(
    layers: Mapping[str, LayerShape], choices: Mapping[str, Configuration], batch: int, device: str
) -> list[dict[str, str | int]]:
    """Lines of the table for a network tuned at `batch`, one for each distinct shape."""
    by_shape = {shape: choices[name].id for name, shape in layers.items() if name in choices}
    return [
        {
            "device": device,
            "batch": batch,
            "shape": shape.text,
            "key": shape_key(shape),
            "id": identity,
        }
        for shape, identity in by_shape.items()
    ]


def known_configuration(
    shape: LayerShape, batch: int, device: str, shared_limit: int
) -> Configuration | None:
    """The fastest kernel of `shape` on that GPU model at the tuned batch nearest to `batch`.

    None where the GPU or the shape is not in the table, or every tuned batch is 16 times smaller or
    larger.
    """
    tuned = _table().get((device, shape_key(shape)))
    if tuned is None:
        return None
    nearest = min(tuned, key=lambda other: (abs(math.log(other / batch)), other))
    if not 1 / _FARTHEST <= nearest / batch <= _FARTHEST:
        return None
    found = configuration(tuned[nearest])
    return found if refusal(found, shape, shared_limit) is None else None


@cache
def _table() -> dict[tuple[str, str], dict[int, int]]:
    """Ids by batch, by device and shape."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    with KNOWN.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            tuned = found.setdefault((row["device"], row["key"]), {})
            tuned[int(row["batch"])] = int(row["id"])
    return found
