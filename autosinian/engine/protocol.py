"""What every inference engine must offer; plain data and Protocols, numpy only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.space.candidate import EngineConfig, Option

OnDone = Callable[[NDArray[np.float32] | None, BaseException | None], None]


@dataclass(frozen=True)
class Tunable:
    """One setting an engine can be tuned by, as data for search spaces.

    Integers have `low` and `high` (both reachable); others have `choices`. `rebuild` is true where
    another value needs another engine file, `rounds` where it rounds a network's numbers in other
    places, so that accuracy is another too.
    """

    name: str
    default: Option
    description: str
    low: int | None = None
    high: int | None = None
    choices: tuple[Option, ...] = ()
    rebuild: bool = True
    rounds: bool = False

    def check(self, value: Option) -> None:
        """Raise `InputError` where `value` is not one that this tunable may take."""
        if self.low is not None and self.high is not None:
            if type(value) is not int or not self.low <= value <= self.high:
                raise InputError(
                    f"{self.name} must be an integer from {self.low} to {self.high}, got {value!r}"
                )
        elif not any(value == choice and type(value) is type(choice) for choice in self.choices):
            choices = ", ".join(map(repr, self.choices))
            raise InputError(f"{self.name} must be one of {choices}, got {value!r}")


class Session(Protocol):
    """An opened engine file, ready to infer; used by one thread, completes on any thread."""

    @property
    def batch_size(self) -> int:
        """Largest number of samples a call takes."""
        ...

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`C x H x W` of one sample."""
        ...

    @property
    def classes(self) -> int:
        """Length of one row of logits."""
        ...

    @property
    def streams(self) -> int:
        """How many submitted batches run at once."""
        ...

    @property
    def depth(self) -> int:
        """Most batches in flight, `>= streams`; `submit` blocks while there are as many."""
        ...

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, `n x classes`, of `inputs`, `n x C x H x W` with `1 <= n <= batch_size`.

        Raises `ValueError` for another shape, `RuntimeError` after `close`.
        """
        ...

    def submit(self, inputs: NDArray[np.float32], on_done: OnDone) -> None:
        """Start a batch and return; `on_done(logits, None)` or `on_done(None, error)` follows.

        `inputs` is as for `infer` and must stay unchanged until then. `logits` is valid only
        during the call. `on_done` must not raise.
        """
        ...

    def wait(self) -> None:
        """Return when every submitted batch has completed."""
        ...

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        ...


@runtime_checkable
class ResidentSession(Session, Protocol):
    """A session that keeps samples where its device reads them fastest."""

    def place(self, samples: NDArray[np.float32]) -> None:
        """Make `samples`, `N x C x H x W`, rows 0 to N-1 in place of those placed before.

        They are copied. Nothing may be in flight. Raises `ValueError` for another shape,
        `TrialFailure` where the device has no room for them.
        """
        ...

    def infer_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, `n x classes`, of the placed samples `rows`, with `1 <= n <= batch_size`."""
        ...

    def submit_rows(self, rows: NDArray[np.int64], on_done: OnDone) -> None:
        """`submit` for placed samples; `rows` may be reused as soon as this returns."""
        ...


@runtime_checkable
class Int8Session(Session, Protocol):
    """A session that may also take samples as int8, in the network's own steps."""

    @property
    def takes_int8(self) -> bool:
        """Whether it does; `infer`, `submit` and `place` then know both."""
        ...


class Engine(Protocol):
    """A compiler and runtime for ONNX classifiers: one input `N x C x H x W`, one output logits."""

    @property
    def name(self) -> str:
        """The entry point's name."""
        ...

    def tunables(self) -> tuple[Tunable, ...]:
        """The settings beside batch size and precision that a search may vary."""
        ...

    def precisions(self) -> tuple[str, ...]:
        """Which of `fp32`, `bf16`, `fp16`, `int8` run natively on this machine, fp32 first."""
        ...

    def device(self) -> str:
        """Name of the device as users know it, e.g. the processor's model."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions that decide whether an engine file fits: library, driver, processor."""
        ...

    def uses_gpu(self) -> bool:
        """Whether it computes on a GPU here: then a worker is given the GPUs that it may see."""
        ...

    def slow_imports(self) -> tuple[str, ...]:
        """Modules whose import takes long and touches no device, best imported before a job is
        there; empty where a worker starts quickly."""
        ...

    def warm(self) -> None:
        """Have ready what every `open` needs and no engine file decides: the libraries, and on a
        GPU its context. Called in a worker that waits for its job; may take seconds."""
        ...

    def build(self, model: Path, precision: str, config: EngineConfig, engine_file: Path) -> None:
        """Compile an ONNX file to one engine file. Raises `InputError` for a file that is none,
        `TrialFailure("build", ...)` where the engine cannot build it."""
        ...

    def open(self, engine_file: Path, config: EngineConfig) -> Session:
        """Load an engine file made by `build` with the same `config` up to `rebuild=False`."""
        ...


@runtime_checkable
class FormatEngine(Engine, Protocol):
    """An engine that says what form of model its `build` takes; others take ONNX."""

    @property
    def model_format(self) -> str:
        """`onnx`, or `int4`: a model folder of integers or its archive."""
        ...


@runtime_checkable
class RehearsingEngine(Engine, Protocol):
    """An engine whose `open` is quicker in a process that has run the model before."""

    def rehearse(self, model: Path, precision: str, config: EngineConfig) -> None:
        """Load what running `model` with `config` will need, while another process builds the
        engine file. Raises what `build` does; nothing may depend on it but time."""
        ...


def model_format(engine: Engine) -> str:
    """The form of model that `engine` builds."""
    return engine.model_format if isinstance(engine, FormatEngine) else "onnx"
