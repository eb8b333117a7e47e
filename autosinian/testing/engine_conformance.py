"""What every engine must do: subclass `EngineConformance` and give it an engine and a model.

class TestMyEngine(EngineConformance):
    precision = "int8"

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return MyEngine()

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return ...  # an ONNX classifier, N x C x H x W -> N x classes, or what `model_format` says
"""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.engine.engine_file import MAGIC, read_header
from autosinian.engine.protocol import Engine, Session
from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig, Option

_LENGTH_BYTES = 8


class EngineConformance:
    """One set of tests for all engines; `batch_size` is at least 3."""

    precision = "fp32"
    # What `precisions` names first: fp32 but for engines of another form of model.
    first_precision = "fp32"
    batch_size = 5
    options: tuple[tuple[str, Option], ...] = ()
    # Of the largest logit: the same row may go through other kernels in another batch.
    tolerance = 1e-4

    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        raise NotImplementedError("a conformance class gives its engine")

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        raise NotImplementedError("a conformance class gives its model")

    @pytest.fixture(scope="class")
    def config(self, engine: Engine) -> EngineConfig:
        return EngineConfig.make(engine.name, self.batch_size, **dict(self.options))

    @pytest.fixture(scope="class")
    def engine_file(
        self,
        engine: Engine,
        model: Path,
        config: EngineConfig,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Path:
        path = tmp_path_factory.mktemp("engine") / "model.engine"
        engine.build(model, self.precision, config, path)
        return path

    @pytest.fixture
    def session(self, engine: Engine, engine_file: Path, config: EngineConfig) -> Iterator[Session]:
        opened = engine.open(engine_file, config)
        yield opened
        opened.close()

    def inputs(self, session: Session, count: int, seed: int = 0) -> NDArray[np.float32]:
        """`count x C x H x W`, standard normal."""
        shape = (count, *session.input_shape)
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def assert_close(self, given: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
        """Equal up to `tolerance` of the largest logit."""
        assert given.shape == wanted.shape
        assert given.dtype == np.float32
        largest = float(np.abs(wanted).max())
        np.testing.assert_allclose(given, wanted, rtol=0, atol=self.tolerance * largest)

    def test_precision_is_among_those_the_engine_names(self, engine: Engine) -> None:
        assert self.precision in engine.precisions()
        assert engine.precisions()[0] == self.first_precision

    def test_names_its_device_and_versions(self, engine: Engine) -> None:
        assert engine.device()
        assert engine.versions()
        assert all(isinstance(value, str) for value in engine.versions().values())

    def test_every_default_is_allowed_by_its_own_tunable(self, engine: Engine) -> None:
        for tunable in engine.tunables():
            tunable.check(tunable.default)

    def test_every_batch_from_one_to_the_largest_gives_its_rows(self, session: Session) -> None:
        inputs = self.inputs(session, session.batch_size)
        whole = session.infer(inputs)
        assert whole.shape == (session.batch_size, session.classes)
        for count in range(1, session.batch_size + 1):
            self.assert_close(session.infer(inputs[:count]), whole[:count])

    def test_a_row_does_not_depend_on_its_neighbours(self, session: Session) -> None:
        inputs = self.inputs(session, session.batch_size)
        backwards = np.ascontiguousarray(inputs[::-1])
        self.assert_close(session.infer(backwards)[::-1], session.infer(inputs))

    def test_a_partial_batch_after_a_full_one_keeps_nothing_of_it(self, session: Session) -> None:
        small = self.inputs(session, 1, seed=1)
        alone = session.infer(small)
        session.infer(100 * self.inputs(session, session.batch_size, seed=2))
        self.assert_close(session.infer(small), alone)

    def test_infer_gives_the_same_bits_twice(self, session: Session) -> None:
        inputs = self.inputs(session, session.batch_size)
        np.testing.assert_array_equal(session.infer(inputs), session.infer(inputs))

    def test_infer_returns_memory_of_its_own(self, session: Session) -> None:
        first = session.infer(self.inputs(session, 2, seed=1))
        kept = first.copy()
        session.infer(self.inputs(session, 2, seed=2))
        np.testing.assert_array_equal(first, kept)

    def test_inputs_are_not_written_to(self, session: Session) -> None:
        inputs = self.inputs(session, session.batch_size)
        before = inputs.copy()
        session.infer(inputs)
        np.testing.assert_array_equal(inputs, before)

    def test_read_only_and_strided_inputs_are_accepted(self, session: Session) -> None:
        inputs = self.inputs(session, 4)
        wanted = session.infer(np.ascontiguousarray(inputs[::2]))
        self.assert_close(session.infer(inputs[::2]), wanted)
        inputs.flags.writeable = False
        self.assert_close(session.infer(inputs[:2]), session.infer(inputs[:2].copy()))

    def test_submitted_batches_each_complete_once_with_their_own_rows(
        self, session: Session
    ) -> None:
        batches = [self.inputs(session, 1 + seed % session.batch_size, seed) for seed in range(20)]
        given: dict[int, NDArray[np.float32]] = {}
        calls: list[int] = []

        def submit(number: int) -> None:
            def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
                assert error is None
                assert logits is not None
                given[number] = logits.copy()
                calls.append(number)

            session.submit(batches[number], on_done)

        for number in range(len(batches)):
            submit(number)
        session.wait()
        assert sorted(calls) == list(range(len(batches)))
        for number, batch in enumerate(batches):
            self.assert_close(given[number], session.infer(batch))

    def test_submit_gives_what_infer_gives(self, session: Session) -> None:
        inputs = self.inputs(session, session.batch_size)
        given: list[NDArray[np.float32]] = []
        session.submit(inputs, lambda logits, _: given.append(logits.copy()))  # type: ignore[union-attr]
        session.wait()
        np.testing.assert_array_equal(given[0], session.infer(inputs))

    def test_at_most_depth_batches_are_in_flight(self, session: Session) -> None:
        assert session.depth >= session.streams >= 1
        lock = threading.Lock()
        finished = 0

        def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            nonlocal finished
            with lock:
                finished += 1

        inputs = self.inputs(session, session.batch_size)
        for submitted in range(1, 4 * session.depth + 1):
            session.submit(inputs, on_done)
            assert submitted - finished <= session.depth
        session.wait()
        assert finished == 4 * session.depth

    def test_wait_returns_after_the_last_completion_has_ended(self, session: Session) -> None:
        finished: list[int] = []

        def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            time.sleep(0.02)
            finished.append(1)

        for _ in range(session.depth):
            session.submit(self.inputs(session, 1), on_done)
        session.wait()
        assert len(finished) == session.depth

    def test_waiting_with_nothing_submitted_returns(self, session: Session) -> None:
        session.wait()

    def test_two_sessions_work_at_once(
        self, engine: Engine, engine_file: Path, config: EngineConfig, session: Session
    ) -> None:
        other = engine.open(engine_file, config)
        inputs = self.inputs(session, session.batch_size)
        wanted = session.infer(inputs)
        given: list[NDArray[np.float32]] = []
        for _ in range(5):
            for opened in (session, other):
                opened.submit(inputs, lambda logits, _: given.append(logits.copy()))  # type: ignore[union-attr]
        session.wait()
        other.wait()
        other.close()
        assert len(given) == 10
        for logits in given:
            self.assert_close(logits, wanted)
        self.assert_close(session.infer(inputs), wanted)

    @pytest.mark.parametrize("change", ["none", "too many", "channels", "rank", "type"])
    def test_another_shape_or_type_is_refused(self, session: Session, change: str) -> None:
        channels, height, width = session.input_shape
        wrong: dict[str, NDArray[np.generic]] = {
            "none": np.zeros((0, channels, height, width), np.float32),
            "too many": np.zeros((session.batch_size + 1, channels, height, width), np.float32),
            "channels": np.zeros((1, channels + 1, height, width), np.float32),
            "rank": np.zeros((channels, height, width), np.float32),
            "type": np.zeros((1, channels, height, width), np.float64),
        }
        with pytest.raises(ValueError, match="inputs must be"):
            session.infer(wrong[change])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="inputs must be"):
            session.submit(wrong[change], lambda _logits, _error: None)  # type: ignore[arg-type]

    def test_closing_twice_is_allowed_and_use_after_close_is_refused(
        self, engine: Engine, engine_file: Path, config: EngineConfig
    ) -> None:
        session = engine.open(engine_file, config)
        inputs = self.inputs(session, 1)
        session.close()
        session.close()
        with pytest.raises(RuntimeError, match="closed"):
            session.infer(inputs)
        with pytest.raises(RuntimeError, match="closed"):
            session.submit(inputs, lambda _logits, _error: None)
        with pytest.raises(RuntimeError, match="closed"):
            session.wait()

    def test_closing_lets_submitted_batches_complete(
        self, engine: Engine, engine_file: Path, config: EngineConfig
    ) -> None:
        session = engine.open(engine_file, config)
        inputs = self.inputs(session, session.batch_size)
        finished: list[bool] = []
        session_depth = session.depth
        for _ in range(session_depth):
            session.submit(inputs, lambda logits, _: finished.append(logits is not None))
        session.close()
        assert finished == [True] * session_depth

    def test_the_engine_file_says_what_it_is(
        self, engine: Engine, engine_file: Path, config: EngineConfig
    ) -> None:
        header = read_header(engine_file)
        assert header.engine == engine.name
        assert header.precision == self.precision
        assert header.batch_size == config.batch_size
        assert header.versions == dict(engine.versions())
        assert len(header.model_sha256) == 64

    def test_an_engine_file_of_other_versions_is_refused_with_what_differs(
        self, engine: Engine, engine_file: Path, config: EngineConfig, tmp_path: Path
    ) -> None:
        name = sorted(engine.versions())[0]
        tampered = tmp_path / "other.engine"
        tampered.write_bytes(_with_version(engine_file.read_bytes(), name, "0.0.1"))
        with pytest.raises(InputError, match=rf"{name} was '0\.0\.1' and is '"):
            engine.open(tampered, config)

    def test_a_configuration_that_needs_a_rebuild_is_refused(
        self, engine: Engine, engine_file: Path, config: EngineConfig
    ) -> None:
        other = EngineConfig(config.engine, config.batch_size + 1, config.options)
        with pytest.raises(InputError, match="batch_size was"):
            engine.open(engine_file, other)

    @pytest.mark.parametrize("content", [b"", b"not an engine file at all", MAGIC + b"\xff" * 20])
    def test_a_file_that_is_no_engine_file_is_refused(
        self, engine: Engine, config: EngineConfig, tmp_path: Path, content: bytes
    ) -> None:
        path = tmp_path / "broken.engine"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.engine"):
            engine.open(path, config)

    def test_a_truncated_engine_file_is_refused(
        self, engine: Engine, engine_file: Path, config: EngineConfig, tmp_path: Path
    ) -> None:
        path = tmp_path / "broken.engine"
        path.write_bytes(engine_file.read_bytes()[:-100])
        with pytest.raises(InputError, match="truncated"):
            engine.open(path, config)

    def test_a_model_that_is_no_onnx_is_bad_input(
        self, engine: Engine, config: EngineConfig, tmp_path: Path
    ) -> None:
        path = tmp_path / "junk.onnx"
        path.write_bytes(b"this is not a network" * 50)
        with pytest.raises(InputError, match=r"junk\.onnx"):
            engine.build(path, self.precision, config, tmp_path / "junk.engine")
        assert not (tmp_path / "junk.engine").exists()
        with pytest.raises(InputError, match=r"absent\.onnx"):
            engine.build(tmp_path / "absent.onnx", self.precision, config, tmp_path / "x.engine")

    def test_a_precision_the_engine_lacks_is_bad_input(
        self, engine: Engine, model: Path, config: EngineConfig, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="precision must be"):
            engine.build(model, "int3", config, tmp_path / "x.engine")

    def test_an_unknown_option_is_bad_input(
        self, engine: Engine, model: Path, tmp_path: Path
    ) -> None:
        config = EngineConfig.make(engine.name, self.batch_size, no_such_option=1)
        with pytest.raises(InputError, match="no_such_option"):
            engine.build(model, self.precision, config, tmp_path / "x.engine")


def _with_version(content: bytes, name: str, value: str) -> bytes:
    """An engine file's bytes with one version changed in its header."""
    start = len(MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(content[len(MAGIC) : start], "little")
    header = json.loads(content[start : start + length])
    header["versions"][name] = value
    text = json.dumps(header, sort_keys=True).encode()
    return MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text + content[start + length :]
