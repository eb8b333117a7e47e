"""Kernels compiled ahead by several processes into triton's cache on disk."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import Any

_MOST_PROCESSES = 24
_THREADS_A_WARP = 32


@dataclass(frozen=True)
class CompileTask:
    """One specialisation of a kernel of `launch`; `types` names the torch types of its tensors.

    `capability` is the GPU's, major and minor number in one: 90 for 9.0.
    """

    kernel: str
    types: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...]
    warps: int
    capability: int


class Compiler:
    """A pool of processes that compile; none opens the GPU, and torch is imported once for all."""

    def __init__(self, processes: int | None = None) -> None:
        available = len(os.sched_getaffinity(0))
        self._processes = min(processes or available, _MOST_PROCESSES)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["autosinian.int4.gpu.launch"])
        self._pool = self._open()
        self._compiled: set[CompileTask] = set()

    def _open(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._processes, mp_context=self._context)

    def submit(self, tasks: Sequence[CompileTask]) -> "list[Future[str | None]]":
        """Begin to compile, in order; a future gives the reason why it failed, or None."""
        try:
            return [self._pool.submit(_compile, task) for task in tasks]
        except BrokenProcessPool:
            self._pool = self._open()
            return [self._pool.submit(_compile, task) for task in tasks]

    def compile(self, tasks: Sequence[CompileTask]) -> None:
        """Compile what this did not compile before; a task that fails will do so where it runs."""
        missing = [task for task in dict.fromkeys(tasks) if task not in self._compiled]
        for task, future in zip(missing, self.submit(missing), strict=True):
            if outcome(future) is None:
                self._compiled.add(task)

    def close(self) -> None:
        """End the processes; what has begun is finished."""
        self._pool.shutdown(cancel_futures=True)


def outcome(future: "Future[str | None]") -> str | None:
    """What a future gives, also where its process died."""
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError):
        return "the compiling process died"


class _Target:
    """As much of a GPU's driver as compiling asks for, so that no process needs a context."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("cuda", capability, _THREADS_A_WARP)

    def get_current_target(self) -> Any:
        """What is compiled for."""
        return self._target

    def get_current_device(self) -> int:
        """The first."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0


@cache
def _compile_for(capability: int) -> None:
    from triton.runtime import driver

    driver.set_active(_Target(capability))


def _compile(task: CompileTask) -> str | None:
    import torch
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    from autosinian.int4.gpu.launch import KERNELS

    _compile_for(task.capability)
    kernel = KERNELS[task.kernel]
    types = [getattr(torch, name) for name in task.types]
    try:
        numbers = (16,) if task.kernel == "pointwise" else (16, 0)
        kernel.warmup(*types, *numbers, **dict(task.constants), num_warps=task.warps, grid=(1,))
    except (CompilationError, OutOfResources, PTXASError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None
