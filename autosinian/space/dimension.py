"""One choice of a trial, as plain data."""

import math
import random
from dataclasses import dataclass

from autosinian.space.candidate import Option
from autosinian.space.document import Range, Values


@dataclass(frozen=True)
class Dimension:
    """One choice of a trial: `choices`, or the integers from `low` to `high`."""

    name: str
    choices: tuple[Option, ...] = ()
    low: int = 0
    high: int = 0
    log: bool = False

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.choices) or self.high - self.low + 1

    def holds(self, value: Option) -> bool:
        """Whether the dimension has this value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int) and self.low <= value <= self.high

    def nearest(self, value: Option) -> Option:
        """The value closest to `value`: itself where the dimension has it."""
        if self.holds(value) or isinstance(value, str):
            return value if self.holds(value) else self.choices[0]
        if not self.choices:
            return int(min(max(value, self.low), self.high))
        numbers = [c for c in self.choices if not isinstance(c, str)]
        return min(numbers, key=lambda c: abs(float(c) - float(value)), default=self.choices[0])

    def sample(self, rng: random.Random) -> Option:
        """A uniform draw (uniform in the logarithm where `log`)."""
        if self.choices:
            return rng.choice(self.choices)
        if self.log:
            draw = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
            return min(max(round(draw), self.low), self.high)
        return rng.randint(self.low, self.high)


def read_dimension(name: str, values: Values) -> Dimension:
    """The dimension that an entry of a search space file describes."""
    if isinstance(values, Range):
        return Dimension(name, (), values.low, values.high, values.log)
    if isinstance(values, list):
        return Dimension(name, tuple(dict.fromkeys(values)))
    return Dimension(name, (values,))
