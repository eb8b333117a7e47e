"""Real engines that misbehave on purpose; workers load them by `module:Class`."""

import importlib
import json
import os
import resource
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.gpu import require_gpu
from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.openvino_session import OpenVinoSession
from autosinian.engine.protocol import OnDone, Session
from autosinian.native.lanes import NativeLane
from autosinian.space.candidate import EngineConfig


class _Wrapped(OpenVinoEngine):
    """OpenVINO, under this class's name in jobs."""

    def open(self, engine_file: Path, config: EngineConfig) -> OpenVinoSession:
        self.misbehave(engine_file)
        return super().open(
            engine_file, EngineConfig.make("openvino", config.batch_size, **dict(config.options))
        )

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        own = EngineConfig.make("openvino", config.batch_size, **dict(config.options))
        super().build(model, precision, own, engine_file)

    def misbehave(self, engine_file: Path) -> None:
        raise NotImplementedError


class AbortingEngine(_Wrapped):
    def misbehave(self, engine_file: Path) -> None:
        print("about to abort", file=sys.stderr, flush=True)
        os.abort()


class RehearsingEngine(_Wrapped):
    """Tells in a file, REHEARSALS, when it rehearses and opens, and in which process."""

    def rehearse(self, model: Path, precision: str, config: EngineConfig) -> None:
        self._tell("rehearse")
        if "FAILING_REHEARSAL" in os.environ:
            raise RuntimeError("out of memory")

    def misbehave(self, engine_file: Path) -> None:
        self._tell("open")

    def _tell(self, word: str) -> None:
        with Path(os.environ["REHEARSALS"]).open("a") as stream:
            stream.write(f"{word} {os.getpid()}\n")


class ExitingEngine(_Wrapped):
    def misbehave(self, engine_file: Path) -> None:
        print("about to exit", file=sys.stderr, flush=True)
        os._exit(7)


class HangingEngine(_Wrapped):
    """Hangs with a child process; leaves both ids in a file beside the engine file."""

    def misbehave(self, engine_file: Path) -> None:
        child = os.fork()
        if child:
            ids = engine_file.with_suffix(".ids")
            ids.with_suffix(".part").write_text(f"{os.getpid()} {child}")
            ids.with_suffix(".part").replace(ids)
        time.sleep(600)


class AbortingBuildEngine(_Wrapped):
    def misbehave(self, engine_file: Path) -> None:
        """Only when it builds."""

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        print("about to abort", file=sys.stderr, flush=True)
        os.abort()


_opened: list[Path] = []


class ProcessEngine(_Wrapped):
    """Writes what process it is in, in a file beside the engine file."""

    def misbehave(self, engine_file: Path) -> None:
        told = {
            "id": os.getpid(),
            "parent": os.getppid(),
            "session": os.getsid(0),
            "threads_at_start": len(list(Path("/proc/self/task").iterdir())),
            "environment": dict(os.environ),
            "cores": sorted(os.sched_getaffinity(0)),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "opened_before": len(_opened),
        }
        _opened.append(engine_file)
        engine_file.with_suffix(".told").write_text(json.dumps(told))


class HungryEngine(_Wrapped):
    def misbehave(self, engine_file: Path) -> None:
        kept = []
        while True:
            kept.append(np.ones(4 << 20, np.float64))
            time.sleep(0.01)


class _RaisingSession(OpenVinoSession):
    """Fails in the middle of a run, from within LoadGen's callback."""

    calls = 0

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        self._count()
        return super().infer(inputs)

    def submit(self, inputs: NDArray[np.float32], on_done: OnDone) -> None:
        self._count()
        super().submit(inputs, on_done)

    def _count(self) -> None:
        self.calls += 1
        if self.calls > 300:
            raise RuntimeError("the engine broke down")


class RaisingEngine(_Wrapped):
    def misbehave(self, engine_file: Path) -> None:
        """Only later."""

    def open(self, engine_file: Path, config: EngineConfig) -> OpenVinoSession:
        session = super().open(engine_file, config)
        session.__class__ = _RaisingSession
        return session


class TellingEngine(_Wrapped):
    """Writes which GPUs its process may see, in a file beside the engine file."""

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        self.misbehave(engine_file)
        super().build(model, precision, config, engine_file)

    def misbehave(self, engine_file: Path) -> None:
        names = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")
        told = {name: os.environ.get(name) for name in names}
        engine_file.with_suffix(".told").write_text(json.dumps(told))


class GpuEngine(OpenVinoEngine):
    """Needs an NVIDIA GPU."""

    name = "tests.measure.worker_engines:GpuEngine"

    def device(self) -> str:
        return require_gpu()[0].name

    def uses_gpu(self) -> bool:
        return True


class OtherGpuEngine(OpenVinoEngine):
    """Uses a GPU that NVML does not list."""

    name = "tests.measure.worker_engines:OtherGpuEngine"

    def device(self) -> str:
        return "a GPU of another maker"

    def uses_gpu(self) -> bool:
        return True


class SlowEngine(_Wrapped):
    """Needs a library that is slow to import."""

    def slow_imports(self) -> tuple[str, ...]:
        return ("tests.measure.slow_library",)

    def misbehave(self, engine_file: Path) -> None:
        importlib.import_module("tests.measure.slow_library")

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        importlib.import_module("tests.measure.slow_library")
        super().build(model, precision, config, engine_file)


class CrampedEngine(SlowEngine):
    """Cannot build while another process rehearses; REFUSAL is what it says then.

    Tells in a file, CRAMPED, which processes rehearsed and whether a build was alone.
    """

    def rehearse(self, model: Path, precision: str, config: EngineConfig) -> None:
        self._tell(f"rehearsed {os.getpid()}")

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        end = time.monotonic() + 30
        while not self._rehearsed() and time.monotonic() < end:
            time.sleep(0.01)
        if any(_runs(process) for process in self._rehearsed()):
            self._tell("refused 0")
            raise RuntimeError(os.environ["REFUSAL"])
        self._tell("built 0")
        super().build(model, precision, config, engine_file)

    def _rehearsed(self) -> list[str]:
        path = Path(os.environ["CRAMPED"])
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in lines if line.startswith("rehearsed")]

    def _tell(self, line: str) -> None:
        with Path(os.environ["CRAMPED"]).open("a") as stream:
            stream.write(f"{line}\n")


def _runs(process: str) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class WarmEngine(_Wrapped):
    """Says which processes warmed it, and fails when told to."""

    def warm(self) -> None:
        with Path(os.environ["WARM_LOG"]).open("a") as log:
            log.write(f"{os.getpid()}\n")
        if "WARM_FAILS" in os.environ:
            raise RuntimeError("nothing to warm")

    def misbehave(self, engine_file: Path) -> None:
        engine_file.with_suffix(".opened").write_text(str(os.getpid()))


class _IdleSession:
    """Answers at once with the same logits."""

    batch_size = 4096
    input_shape: tuple[int, int, int] = (1, 1, 1)
    classes, streams, depth = 2, 1, 1

    def __init__(self) -> None:
        self._logits = np.zeros((self.batch_size, self.classes), np.float32)

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._logits[: len(inputs)]

    def submit(self, inputs: NDArray[np.float32], on_done: OnDone) -> None:
        on_done(self.infer(inputs), None)

    def wait(self) -> None:
        """Nothing is in flight."""

    def close(self) -> None:
        """Nothing is held."""


class IdleEngine(OpenVinoEngine):
    """Does next to nothing, so that what a run takes is LoadGen's and ours."""

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        return _IdleSession()


class _WideIdleSession(_IdleSession):
    batch_size = 16
    input_shape = (1, 100, 128)


class WideIdleEngine(IdleEngine):
    """Idle too, on samples of 50 KiB."""

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        return _WideIdleSession()


class NativeEngine(_Wrapped):
    """Its lanes can be started by the compiled systems under test, as a GPU's can."""

    def misbehave(self, engine_file: Path) -> None:
        """Nothing."""

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        return _NativeSession(super().open(engine_file, config), streams=2)


class FailingNativeEngine(NativeEngine):
    """A lane breaks down in the middle of a run."""

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        session = super().open(engine_file, config)
        finishes = iter(range(20))

        def finish() -> None:
            if next(finishes, None) is None:
                raise RuntimeError("the lane broke down")

        session.lanes = [replace(lane, finish=finish) for lane in session.lanes]
        return session


class UnevenNativeEngine(NativeEngine):
    """The first of its two streams takes much longer than the second.

    A batch breaks down that starts behind another on its stream.
    """

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        session = super().open(engine_file, config)
        lanes = session.lanes
        for number, slow in ((0, True), (2, False)):
            lanes[number : number + 2] = _one_after_another(lanes[number : number + 2], slow=slow)
        return session


def _one_after_another(lanes: list[NativeLane], *, slow: bool) -> list[NativeLane]:
    running: list[int] = []

    def watched(lane: NativeLane) -> NativeLane:
        first_start, first_finish = lane.start, lane.finish
        assert first_start is not None
        assert first_finish is not None

        def start(size: int, count: int) -> None:
            if running:
                raise RuntimeError("a batch must not wait for another while a stream is idle")
            running.append(count)
            first_start(size, count)

        def finish() -> None:
            time.sleep(0.05 if slow else 0.0)
            first_finish()
            running.clear()

        return replace(lane, start=start, finish=finish)

    return [watched(lane) for lane in lanes]


class PacedNativeEngine(NativeEngine):
    """Every batch takes 20 ms of the device; one that is not full breaks down where it starts
    sooner than half of that after another."""

    def open(self, engine_file: Path, config: EngineConfig) -> Any:
        session = super().open(engine_file, config)
        session.batch_s = 0.02
        last = [0.0]

        def paced(lane: NativeLane) -> NativeLane:
            first = lane.start
            assert first is not None

            def start(size: int, count: int) -> None:
                now = time.monotonic()
                if count < session.batch_size and now < last[0] + session.batch_s / 2:
                    raise RuntimeError(
                        "a batch that is not full must not leave right after another"
                    )
                last[0] = now
                first(size, count)

            return replace(lane, start=start)

        session.lanes = [paced(lane) for lane in session.lanes]
        return session


class _NativeSession:
    """Placed samples, and lanes that run them when they are asked to finish."""

    def __init__(self, session: Session, streams: int) -> None:
        self._session = session
        self.batch_size, self.input_shape = session.batch_size, session.input_shape
        self.classes, self.streams, self.depth = session.classes, streams, 2 * streams
        self._samples = np.empty((0, *self.input_shape), np.float32)
        self._one_at_a_time = threading.Lock()
        self.batch_s = 0.0
        self.lanes = [self._lane() for _ in range(self.depth + 1)]

    def native_lanes(self) -> list[NativeLane]:
        return self.lanes

    def place(self, samples: NDArray[np.float32]) -> None:
        self._samples = np.array(samples)

    def infer_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._one_at_a_time:
            time.sleep(self.batch_s)
            return self._session.infer(self._samples[rows])

    def submit_rows(self, rows: NDArray[np.int64], on_done: OnDone) -> None:
        on_done(self.infer_rows(rows), None)

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._session.infer(inputs)

    def submit(self, inputs: NDArray[np.float32], on_done: OnDone) -> None:
        on_done(self.infer(inputs), None)

    def wait(self) -> None:
        """Nothing is in flight."""

    def close(self) -> None:
        self._session.close()

    def _lane(self) -> NativeLane:
        rows = np.zeros(self.batch_size, np.uint64)
        logits = np.zeros((self.batch_size, self.classes), np.float32)
        started: list[int] = []

        def start(size: int, count: int) -> None:
            assert size == self.batch_size
            assert 1 <= count <= size
            assert (rows[count:] == 2 * 5 + 3).all()
            started.append(count)

        def finish() -> None:
            count = started.pop()
            assert not started
            logits[:] = np.nan
            logits[:count] = self.infer_rows((rows[:count].astype(np.int64) - 3) // 2)

        return NativeLane(
            rows=rows,
            logits=logits,
            row_scale=2,
            row_base=3,
            row_fill=2 * 5 + 3,
            sizes=(self.batch_size,),
            start=start,
            finish=finish,
        )
