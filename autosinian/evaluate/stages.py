"""The stages of one trial: how long each takes, and which one fails."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from autosinian.errors import (
    AutosinianError,
    InputError,
    TrialFailure,
    Unavailable,
    is_disk_full,
)
from autosinian.evaluate.quiet import working

OnStage = Callable[[str], None]


@contextmanager
def entered(stack: ExitStack, manager: AbstractContextManager[None]) -> Iterator[None]:
    """Enter `manager`, and leave it to `stack` to leave it."""
    stack.enter_context(manager)
    yield


class Stages:
    """Times the stages of one trial and names the stage that fails."""

    def __init__(self, on_stage: OnStage) -> None:
        self.seconds: dict[str, float] = {}
        self._on_stage = on_stage

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @contextmanager
    def run(
        self,
        name: str,
        *,
        first: Callable[[], None] = lambda: None,
        waiting: AbstractContextManager[None] | None = None,
    ) -> Iterator[None]:
        """Time `first` and a block; entering `waiting`, another search's turn, is not counted."""
        self._on_stage(name)
        start = time.perf_counter()
        first()
        before = time.perf_counter() - start
        with waiting or working():
            start = time.perf_counter() - before
            try:
                yield
            except AutosinianError:
                raise
            except (RuntimeError, ValueError, MemoryError) as error:
                # What the libraries of a stage raise for a network they cannot handle.
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
                raise TrialFailure(name.split()[0], reason) from error
            except OSError as error:
                raise (Unavailable if is_disk_full(error) else InputError)(
                    f"stage `{name}` must be able to write its files, but: {error}; "
                    "free space and run the same command again"
                ) from error
            finally:
                self.seconds[name] = time.perf_counter() - start
