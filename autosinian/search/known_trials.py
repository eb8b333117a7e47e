"""What a process knows of a study's trials, so that each finished one is read once."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autosinian.search.trial_reading import Head


@dataclass
class KnownTrials:
    """The trials of one study as far as they were read."""

    last: int = -1
    """Greatest id of a finished trial that was seen: asked for are those above and the open."""
    open: set[int] = field(default_factory=set)
    unread: dict[int, Head] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    """The first distribution of each dimension's name."""
    _last: dict[str, BaseDistribution] | None = None
    _trials: dict[int, FrozenTrial] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _ids: dict[int, int] = field(default_factory=dict)

    def see(self, heads: Sequence[Head]) -> None:
        """Note which trials there are, and which of them have to be read."""
        for head in heads:
            if head.state.is_finished():
                self.open.discard(head.trial_id)
                self.last = max(self.last, head.trial_id)
                known = self._trials.get(self._numbers.get(head.trial_id, -1))
                if known is not None and known.state.is_finished():
                    continue
            else:
                self.open.add(head.trial_id)
            self.unread[head.trial_id] = head
            self.number(head.trial_id, head.number)

    def keep(self, trial: FrozenTrial) -> None:
        """Keep a trial as it was read."""
        self.unread.pop(trial._trial_id, None)
        self.number(trial._trial_id, trial.number)
        self._trials[trial.number] = trial
        if trial.distributions is not self._last:  # one mapping for all trials of these dimensions
            self._last = trial.distributions
            for name, distribution in trial.distributions.items():
                self.distributions.setdefault(name, distribution)

    def number(self, trial_id: int, number: int) -> None:
        """Note that there is a trial of this id and number."""
        self._numbers[trial_id] = number
        self._ids[number] = trial_id

    def finished(self, trial_id: int) -> FrozenTrial | None:
        """A finished trial that was read."""
        found = self._trials.get(self._numbers.get(trial_id, -1))
        return found if found is not None and found.state.is_finished() else None

    def id_of(self, number: int) -> int | None:
        """The id of the trial of this number, where it was seen."""
        return self._ids.get(number)

    def trials(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """What was read, by number."""
        ordered = (self._trials[number] for number in sorted(self._trials))
        if states is None:
            return list(ordered)
        return [t for t in ordered if t.state in states and t._trial_id not in self.unread]

    def __bool__(self) -> bool:
        return bool(self._ids)
