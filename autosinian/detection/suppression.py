"""How detections are chosen among boxes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Suppression:
    """How detections are chosen; the defaults are those of MLPerf's SSD-ResNet34.

    Boxes with a score above `score` are candidates, the best `candidates` of each class; one that
    overlaps a better one of its class by more than `overlap` is dropped; the best `kept` of an
    image remain.
    """

    score: float = 0.05
    overlap: float = 0.5
    candidates: int = 200
    kept: int = 200
