"""Kernels compiled ahead by several processes into triton's cache on disk."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

_MOST_PROCESSES = 24


@dataclass(frozen=True)
class CompileTask:
    """One specialisation of a kernel of `launch`; `types` names the torch types of its tensors."""

    kernel: str
    types: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...]
    warps: int


class Compiler:
    """A pool of processes that compile; each opens the GPU, as kernels are made for it."""

    def __init__(self, processes: int | None = None) -> None:
        available = len(os.sched_getaffinity(0))
        self._processes = min(processes or available, _MOST_PROCESSES)
        self._pool = self._open()

    def _open(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._processes, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, tasks: Sequence[CompileTask]) -> "list[Future[str | None]]":
        """Begin to compile, in order; a future gives the reason why it failed, or None."""
        try:
            return [self._pool.submit(_compile, task) for task in tasks]
        except BrokenProcessPool:
            self._pool = self._open()
            return [self._pool.submit(_compile, task) for task in tasks]

    def compile(self, tasks: Sequence[CompileTask]) -> list[str | None]:
        """Compile all; for each the reason why it failed, or None."""
        return [outcome(future) for future in self.submit(tasks)]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def outcome(future: "Future[str | None]") -> str | None:
    """What a future gives, also where its process died."""
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError):
        return "the compiling process died"


def _compile(task: CompileTask) -> str | None:
    import torch
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    from autosinian.int4.gpu.launch import KERNELS

    kernel = KERNELS[task.kernel]
    types = [getattr(torch, name) for name in task.types]
    try:
        numbers = (16,) if task.kernel == "pointwise" else (16, 0)
        kernel.warmup(*types, *numbers, **dict(task.constants), num_warps=task.warps, grid=(1,))
    except (CompilationError, OutOfResources, PTXASError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None
