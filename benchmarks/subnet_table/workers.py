"""Processes that measure subnets side by side, each row written as soon as it is known."""

import csv
import multiprocessing
import os
import queue
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]
POLL_S = 1.0
PATIENCE_S = 5.0
"""How long workers have to end by themselves, together."""


@dataclass(frozen=True)
class Place:
    """Where a worker runs: its number, torch's device, its cores (empty: any)."""

    number: int
    device: str
    cores: tuple[int, ...]


class Measure(Protocol):
    """Opened once in each worker; then called with one task at a time."""

    def __call__(self, task: str) -> list[Row]: ...


Opener = Callable[[Place, Any, Any], Measure]
"""`(place, settings, lock)` to a `Measure`; a function of a module, as workers are spawned."""


@dataclass(frozen=True)
class Ended:
    """How a phase ended: rows written, tasks that failed, whether all tasks were done."""

    rows: int
    failed: int
    complete: bool
    seconds: float


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file; none where it does not exist. A torn last line is left out."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if None not in row.values()]


def run(
    tasks: Sequence[str],
    opener: Opener,
    settings: Any,
    places: Sequence[Place],
    path: Path,
    fields: Sequence[str],
    common: Row,
    time_limit_s: float,
    what: str,
) -> Ended:
    """Measure `tasks` in one process a place, appending rows of `fields` to `path`.

    Workers on one device share a lock. Stops at the limit, at the last task, or when every worker
    has died; a task that raises is reported on stderr and left out.
    """
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    todo: Any = context.Queue()
    done: Any = context.Queue()
    stop = context.Event()
    for task in tasks:
        todo.put(task)
    locks = {device: context.Lock() for device in {place.device for place in places}}
    workers = [
        context.Process(
            target=_work,
            args=(place, opener, settings, locks[place.device], todo, done, stop),
            daemon=True,
        )
        for place in places
    ]
    for worker in workers:
        worker.start()
    rows = failed = finished = 0
    shown = start
    try:
        with _appending(path, fields) as write:
            while finished < len(tasks):
                if time.monotonic() - start > time_limit_s:
                    break
                try:
                    found: list[Row] | str = done.get(timeout=POLL_S)
                except queue.Empty:
                    # A worker that died took at most one task with it.
                    dead = sum(not worker.is_alive() for worker in workers)
                    if dead == len(workers) or (todo.empty() and finished + dead >= len(tasks)):
                        break
                    continue
                finished += 1
                if isinstance(found, str):
                    failed += 1
                    print(f"{what}: {found}", file=sys.stderr, flush=True)
                else:
                    write([{**common, **row} for row in found])
                    rows += len(found)
                if time.monotonic() - shown > 10 or finished == len(tasks):
                    shown = time.monotonic()
                    left = (shown - start) / finished * (len(tasks) - finished)
                    print(
                        f"{what}: {finished}/{len(tasks)}, about {left:.0f} s left",
                        file=sys.stderr,
                        flush=True,
                    )
    finally:
        stop.set()
        patience = time.monotonic() + PATIENCE_S
        for worker in workers:
            worker.join(timeout=max(patience - time.monotonic(), 0.1))
            if worker.is_alive():
                worker.kill()
                worker.join()
        for channel in (todo, done):
            channel.cancel_join_thread()
            channel.close()
    return Ended(rows, failed, finished == len(tasks), time.monotonic() - start)


def _work(
    place: Place, opener: Opener, settings: Any, lock: Any, todo: Any, done: Any, stop: Any
) -> None:
    if place.cores:
        os.sched_setaffinity(0, place.cores)
    measure = opener(place, settings, lock)
    while not stop.is_set():
        try:
            task = todo.get(timeout=0.2)
        except queue.Empty:
            continue
        try:
            done.put(measure(task))
        except (RuntimeError, ValueError, TypeError, OSError):
            # One subnet that cannot be measured must not end the others; the parent counts it.
            done.put(f"`{task}` failed: {traceback.format_exc(limit=-3)}")


class _appending:  # noqa: N801  (reads as `with _appending(...)`)
    """A CSV file opened at its end; its header is written where it is new."""

    def __init__(self, path: Path, fields: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend(path)
        new = not path.exists() or path.stat().st_size == 0
        self._stream = path.open("a", newline="")
        self._writer = csv.DictWriter(self._stream, list(fields), lineterminator="\n")
        if new:
            self._writer.writeheader()

    def __enter__(self) -> Callable[[Iterable[Row]], None]:
        def write(rows: Iterable[Row]) -> None:
            self._writer.writerows(rows)
            self._stream.flush()

        return write

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _mend(path: Path) -> None:
    """Cut a last line that a killed process left half written."""
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            path.write_bytes(whole)
