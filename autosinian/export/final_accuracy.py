"""Whether a candidate is accurate enough on samples that the search never saw."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autosinian.evaluate.evaluator import Evaluator
from autosinian.export.choose import missed
from autosinian.export.contender import Contender
from autosinian.export.validation import ROLE
from autosinian.measure.measurement import Measurement
from autosinian.space.candidate import Candidate
from autosinian.space.rules import Constraint

ACCURACY = "accuracy"
JUDGED = "judged"
PASSED_OVER = "passed-over"

Score = Callable[[Contender, str], Measurement]


class FinalAccuracy:
    """Judges contenders, each once; what gives the same answers as one that missed is not run.

    `score` runs a contender and puts its logs below a folder of `scratch`. `reference` is what
    constraints are relative to, by metric; those of `rules` on accuracy count. `missed` are the
    reasons of those that miss one, by name.
    """

    def __init__(
        self,
        score: Score,
        rules: Sequence[Constraint],
        reference: Mapping[str, float],
        evaluator: Evaluator,
        scratch: Path,
    ) -> None:
        self._score = score
        self._rules = [rule for rule in rules if str(rule.metric) == ACCURACY]
        self._reference = reference
        self._evaluator, self._scratch = evaluator, scratch
        self._found: dict[str, Measurement] = {}
        self._alike: dict[str, str] = {}
        self.missed: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many were run."""
        return len(self._found)

    def miss(self, contender: Contender) -> str:
        """What a contender misses; empty where it holds."""
        name = contender.name
        reason = self.alike(contender.candidate)
        if not reason:
            found = self._found.get(name) or self._score(contender, f"{JUDGED}/{name}")
            self._found[name] = found
            assert found.accuracy is not None  # or scoring it had failed
            reason = missed({ACCURACY: found.accuracy}, self._rules, self._reference)
        if reason:
            self._alike[self._key(contender.candidate)] = reason
            self.missed[name] = reason
        return reason

    def alike(self, candidate: Candidate) -> str:
        """What a candidate misses as one before it does, whose answers are the same."""
        return self._alike.get(self._key(candidate), "")

    def keep(self, name: str) -> Measurement:
        """The run of the one that is exported; its logs are `accuracy`, the others' apart."""
        (self._scratch / JUDGED / name).rename(self._scratch / ACCURACY)
        if any((self._scratch / JUDGED).iterdir()):
            (self._scratch / JUDGED).rename(self._scratch / PASSED_OVER)
        else:
            (self._scratch / JUDGED).rmdir()
        self.missed.pop(name, None)
        return self._found[name]

    def _key(self, candidate: Candidate) -> str:
        return self._evaluator.accuracy_key(candidate, ROLE)
