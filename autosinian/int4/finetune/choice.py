"""Which of several networks of integers is taken: the fewest 8-bit layers that are good enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One written network: the layers it keeps in 8 bits, its accuracies (0 to 1), its folder.

    `accuracy_search` is of the split that decides, `accuracy_validation` of the one that does not.
    """

    name: str
    int8: tuple[str, ...]
    accuracy_search: float
    accuracy_validation: float
    folder: Path


def choose(variants: Sequence[Variant], float_accuracy: float, tolerance: float) -> Variant | None:
    """The variant of the fewest 8-bit layers at most `tolerance` points below `float_accuracy`.

    Decided on the search split; None where none is good enough.
    """
    # A whole image more or less is no rounding matter: 1e-9 only absorbs that of the difference.
    good = [
        variant
        for variant in variants
        if 100 * (float_accuracy - variant.accuracy_search) <= tolerance + 1e-9
    ]
    return min(good, key=lambda variant: len(variant.int8), default=None)
