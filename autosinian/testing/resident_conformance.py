"""What every engine must do whose sessions keep samples on their device, beside what all must."""

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.engine.protocol import ResidentSession, Session
from autosinian.testing.engine_conformance import EngineConformance


class ResidentConformance(EngineConformance):
    """`EngineConformance` and the tests of `ResidentSession`; subclassed in the same way."""

    def test_placed_rows_give_what_the_samples_themselves_give(self, session: Session) -> None:
        resident = _resident(session)
        samples = self.inputs(session, 3 * session.batch_size)
        resident.place(samples)
        generator = np.random.default_rng(4)
        for count in range(1, session.batch_size + 1):
            rows = generator.integers(0, len(samples), count)
            self.assert_close(resident.infer_rows(rows), session.infer(samples[rows]))

    def test_submitted_rows_each_complete_once_with_their_own_samples(
        self, session: Session
    ) -> None:
        resident = _resident(session)
        samples = self.inputs(session, 4 * session.batch_size)
        resident.place(samples)
        generator = np.random.default_rng(5)
        chosen = [
            generator.integers(0, len(samples), 1 + number % session.batch_size)
            for number in range(25)
        ]
        given: dict[int, NDArray[np.float32]] = {}

        def submit(number: int) -> None:
            def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
                assert error is None
                assert logits is not None
                assert number not in given
                given[number] = logits.copy()

            rows = chosen[number].copy()
            resident.submit_rows(rows, on_done)
            rows[:] = 0  # they may be reused at once

        for number in range(len(chosen)):
            submit(number)
        session.wait()
        assert sorted(given) == list(range(len(chosen)))
        for number, rows in enumerate(chosen):
            self.assert_close(given[number], session.infer(samples[rows]))

    def test_placing_copies_samples_and_replaces_those_before(self, session: Session) -> None:
        resident = _resident(session)
        first = self.inputs(session, session.batch_size + 3, seed=6)
        kept = first.copy()
        resident.place(first)
        first[:] = 0
        rows = np.array([len(first) - 1, 0])
        self.assert_close(resident.infer_rows(rows), session.infer(kept[rows]))
        second = self.inputs(session, 2, seed=7)
        resident.place(second)
        self.assert_close(resident.infer_rows(np.array([1])), session.infer(second[1:]))
        with pytest.raises(ValueError, match="rows must be those of placed samples"):
            resident.infer_rows(np.array([2]))

    def test_rows_that_are_not_placed_are_refused(self, session: Session) -> None:
        resident = _resident(session)
        with pytest.raises(ValueError, match="rows must be"):
            resident.infer_rows(np.array([0]))
        resident.place(self.inputs(session, 2))
        wrong = [np.array([2]), np.array([-1]), np.array([0, 5]), np.zeros(0, np.int64)]
        wrong += [np.zeros(session.batch_size + 1, np.int64), np.zeros((1, 1), np.int64)]
        for rows in wrong:
            with pytest.raises(ValueError, match="rows must be"):
                resident.infer_rows(rows)
            with pytest.raises(ValueError, match="rows must be"):
                resident.submit_rows(rows, lambda _logits, _error: None)

    def test_samples_of_another_shape_cannot_be_placed(self, session: Session) -> None:
        resident = _resident(session)
        channels, height, width = session.input_shape
        with pytest.raises(ValueError, match="samples must be"):
            resident.place(np.zeros((2, channels, height + 1, width), np.float32))
        with pytest.raises(ValueError, match="samples must be"):
            resident.place(np.zeros((2, channels, height, width)))  # type: ignore[arg-type]


def _resident(session: Session) -> ResidentSession:
    assert isinstance(session, ResidentSession)
    return session
