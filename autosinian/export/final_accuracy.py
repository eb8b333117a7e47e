"""Whether a candidate is accurate enough on samples that the search never saw."""

from collections.abc import Callable
from pathlib import Path

from autosinian.evaluate.evaluator import Evaluator
from autosinian.export.contender import Contender
from autosinian.export.validation import ROLE
from autosinian.measure.measurement import Measurement
from autosinian.space.candidate import Candidate

ACCURACY = "accuracy"
JUDGED = "judged"
PASSED_OVER = "passed-over"

Score = Callable[[Contender, str], Measurement]
Miss = Callable[[float], str]


class FinalAccuracy:
    """Judges contenders, each once; what gives the same answers as one that missed is not run.

    `score` runs a contender and puts its logs below a folder of `scratch`; `miss` says which
    constraint an accuracy misses. `missed` are the reasons of those that miss, by name.
    """

    def __init__(self, score: Score, miss: Miss, evaluator: Evaluator, scratch: Path) -> None:
        self._score, self._miss = score, miss
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
            reason = "" if found.accuracy is None else self._miss(found.accuracy)
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
