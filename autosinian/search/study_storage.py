"""Optuna's database storage, as a search needs it: patient, and with few statements.

It has Optuna's own tables, so that every other program of Optuna's reads and writes the same study.
Each change is one transaction that may be repeated (see `Database`). What is written to a trial
that this process made waits until the next call that is about anything else, at the latest until
the trial ends, and goes in one transaction then; each finished trial is read once.
"""

import copy
import functools
import json
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autosinian.errors import InputError
from autosinian.search import trial_writing as writing
from autosinian.search.known_trials import KnownTrials
from autosinian.search.optuna_tables import cause_of, open_tables
from autosinian.search.own_trial import Addition, Beginning, OwnTrial, empty_trial
from autosinian.search.trial_reading import (
    Head,
    TrialReader,
    check_study,
    read_head,
    read_heads,
    read_study_attributes,
)
from autosinian.search.trial_writing import Param, Rows
from autosinian.store.database import Database
from autosinian.store.patience import Patience

T = TypeVar("T")


class StudyStorage(BaseStorage):
    """Studies in a database of SQLite or PostgreSQL; safe for several threads and processes.

    Raises `InputError` where the database is broken, or away for longer than its patience; where
    its tables are of another version of Optuna, `RuntimeError`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.RLock()
        self._known: dict[int, KnownTrials] = {}
        self._own: dict[int, OwnTrial] = {}
        self._beside: dict[int, Callable[[sa.Connection], None]] = {}
        self._reader = TrialReader()
        self._rest = database.attempt(functools.partial(open_tables, database.url))

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database.url

    def __getstate__(self) -> dict[str, Any]:
        self.write()
        return {"url": self.url, "patience_s": self.database.patience.limit_s}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(Database(state["url"], Patience(state["patience_s"])))  # type: ignore[misc]

    # Studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """See `BaseStorage`."""
        attempts = 0

        def once() -> int:
            nonlocal attempts
            attempts += 1
            try:
                return self._rest.create_new_study(directions, study_name)
            except DuplicatedStudyError:
                if attempts == 1 or study_name is None:
                    raise
                return self._rest.get_study_id_from_name(study_name)

        return self._optunas(once)

    def delete_study(self, study_id: int) -> None:
        """See `BaseStorage`."""
        with self._lock:
            self._optunas(lambda: self._rest.delete_study(study_id))
            self._known.pop(study_id, None)
            self._own = {k: own for k, own in self._own.items() if own.study_id != study_id}

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._set_study_attribute(writing.STUDY_USER, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._set_study_attribute(writing.STUDY_SYSTEM, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """See `BaseStorage`."""
        return self._optunas(lambda: self._rest.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """See `BaseStorage`."""
        return self._optunas(lambda: self._rest.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `BaseStorage`."""
        return self._optunas(lambda: self._rest.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._study_attributes(writing.STUDY_USER, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._study_attributes(writing.STUDY_SYSTEM, study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`."""
        self.write()
        return self._optunas(self._rest.get_all_studies)

    # Trials: writing

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `BaseStorage`."""
        with self._lock:
            self.write()
            if template_trial is None:
                start, at_once = datetime.now(), self.database.batches
                trial, begin = empty_trial(start), Beginning(study_id, start, at_once=at_once)
                way = self.database.run if at_once else self.database.transact
                trial._trial_id, trial.number = way(begin)
            else:
                trial = copy.deepcopy(template_trial)
                add = Addition(study_id, trial)
                trial._trial_id, trial.number = self.database.transact(add)
            known = self._known.setdefault(study_id, KnownTrials())
            known.number(trial._trial_id, trial.number)
            if trial.state == TrialState.RUNNING:
                self._own[trial._trial_id] = OwnTrial(study_id, trial)
            return trial._trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """See `BaseStorage`. Distributions are compared with those of trials that are known."""
        param = Param(param_name, param_value_internal, distribution)
        with self._lock:
            own = self._own.get(trial_id)
            if own is not None:
                self._check_compatible(own.study_id, param)
                own.add(param)
                return
            study_id, head = self.database.run(lambda c: read_head(c, trial_id))
            if not head.state.is_finished():
                self._check_compatible(study_id, param)
            self._change(trial_id, writing.rows_of_params([param]))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._set_attribute(writing.USER, trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._set_attribute(writing.SYSTEM, trial_id, key, value)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """See `BaseStorage`."""
        with self._lock:
            self._change(trial_id, writing.rows_of_steps({step: intermediate_value}))
            if trial_id in self._own:
                self._own[trial_id].trial.intermediate_values[step] = float(intermediate_value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `BaseStorage`: all that waits of the trial and its end are one transaction."""
        attempts = 0

        def once(connection: sa.Connection) -> bool:
            nonlocal attempts
            attempts += 1
            if trial_id in self._own:
                rows = (*self._own[trial_id].rows, writing.rows_of_values(values or ()))
            else:
                rows = (writing.rows_of_values(values or ()),)
            if state == TrialState.RUNNING:
                changed = writing.start(connection, trial_id, *rows)
            else:
                changed = writing.end(connection, trial_id, state, *rows)
            if changed:
                if trial_id in self._beside:
                    self._beside[trial_id](connection)
            elif attempts > 1 and writing.has_state(connection, trial_id, state):
                return True  # the connection was lost before we heard of it
            else:
                writing.check_open(connection, trial_id)
            return changed

        with self._lock:
            try:
                changed = self.database.transact(once)
            except InputError:
                raise  # the trial is as it was
            except Exception:
                # It has ended, is not there, or what goes beside says that it is another's by now:
                # whatever the reason, what waits must not be written to it later.
                self._own.pop(trial_id, None)
                raise
            if changed:
                self._own.pop(trial_id, None)
            return changed

    @contextmanager
    def beside(self, trial_id: int, work: Callable[[sa.Connection], None]) -> Iterator[None]:
        """While the block runs, do `work` in the transaction that ends this trial.

        What it raises leaves everything as it was.
        """
        self._beside[trial_id] = work
        try:
            yield
        finally:
            del self._beside[trial_id]

    def write(self) -> None:
        """Write what waits. A trial that another process has ended in the meantime is let go."""
        with self._lock:
            for trial_id, own in list(self._own.items()):
                if own.unwritten:
                    if not self._write_rows(trial_id, *own.rows):
                        del self._own[trial_id]
                    own.written()

    # Trials: reading

    def own_trials(self) -> list[FrozenTrial]:
        """The trials that this process made and has not ended, as it wrote them."""
        with self._lock:
            return [own.frozen() for own in self._own.values()]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`. A trial of this process is as this process wrote it."""
        with self._lock:
            if trial_id in self._own:
                return self._own[trial_id].frozen()
            for known in self._known.values():
                found = known.finished(trial_id)
                if found is not None:
                    return found
            self.write()

            def once(connection: sa.Connection) -> FrozenTrial:
                _, head = read_head(connection, trial_id)
                return self._reader.read(connection, [head])[0]

            return self.database.run(once)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """See `BaseStorage`."""
        with self._lock:
            known = self._known.get(study_id)
            if known is None or known.id_of(trial_number) is None:
                known = self._refreshed(study_id, ())
            found = known.id_of(trial_number)
        if found is None:
            raise KeyError(f"no trial {trial_number} in the study of id {study_id}")
        return found

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        with self._lock:
            self.write()
            found = self._refreshed(study_id, states).trials(states)
        return copy.deepcopy(found) if deepcopy else found

    def remove_session(self) -> None:
        """Close all connections."""
        self.write()
        self.database.close()

    # Below

    def _refreshed(self, study_id: int, states: Container[TrialState] | None) -> KnownTrials:
        """What is known of a study after what is new of these states was read."""
        known = self._known.get(study_id) or KnownTrials()

        def heads(connection: sa.Connection) -> list[Head]:
            found = read_heads(connection, study_id, known.last, known.open)
            if not found and not known:
                check_study(connection, study_id)
            return found

        known.see(self.database.run(heads))
        self._known[study_id] = known
        wanted = [h for h in known.unread.values() if states is None or h.state in states]
        foreign = []
        for head in wanted:
            own = self._own.get(head.trial_id)
            if own is not None and head.state == TrialState.RUNNING:
                known.keep(own.frozen())
            else:
                self._own.pop(head.trial_id, None)
                foreign.append(head)
        if foreign:
            for trial in self.database.run(lambda c: self._reader.read(c, foreign)):
                known.keep(trial)
        return known

    def _check_compatible(self, study_id: int, param: Param) -> None:
        known = self._known.setdefault(study_id, KnownTrials())
        first = known.distributions.setdefault(param.name, param.distribution)
        if first is not param.distribution:
            check_distribution_compatibility(first, param.distribution)

    def _write_rows(self, trial_id: int, *rows: Rows) -> bool:
        # PostgreSQL does it by one statement.
        way = self.database.run if self.database.dialect == "postgresql" else self.database.transact
        return way(lambda connection: writing.write(connection, trial_id, *rows))

    def _change(self, trial_id: int, *rows: Rows) -> None:
        """Write to a trial of any process. Raises `KeyError`, `UpdateFinishedTrialError`."""
        if not self._write_rows(trial_id, *rows):
            self.database.run(lambda connection: writing.check_open(connection, trial_id))

    def _set_attribute(self, table: Any, trial_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            own = self._own.get(trial_id)
            if own is None:
                self._change(trial_id, writing.rows_of_attributes(table, {key: text}))
            elif table is writing.USER:
                own.user[key] = text
                own.trial.user_attrs[key] = json.loads(text)
            else:
                own.system[key] = text
                own.trial.system_attrs[key] = json.loads(text)

    def _set_study_attribute(self, table: Any, study_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            self.write()
            self.database.run(
                lambda c: writing.write_study_attribute(c, table, study_id, key, text)
            )

    def _study_attributes(self, table: Any, study_id: int) -> dict[str, Any]:
        with self._lock:
            self.write()
            texts = self.database.run(lambda c: read_study_attributes(c, table, study_id))
        return {key: json.loads(text) for key, text in texts.items()}

    def _optunas(self, action: Callable[[], T]) -> T:
        """What Optuna's storage does, under the rules of `Database`."""

        def once() -> T:
            try:
                return action()
            except StorageInternalError as error:
                raise cause_of(error) from error

        return self.database.attempt(once)
