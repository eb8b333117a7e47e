"""What it gives that who waits to measure goes before work that begins.

    python benchmarks/taking_turns.py --output benchmarks/results/taking_turns.csv

Several processes share a device as searches do: each works (a build, accuracy), then measures
alone, again and again. The lengths are given and slept, so that nothing but waiting is compared:
the locks of `autosinian.evaluate.quiet` beside one plain lock that is shared by work and held alone
by a measurement.
"""

import argparse
import contextlib
import csv
import datetime
import fcntl
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from autosinian.evaluate import quiet

WORK_S = (0.2, 0.6)
ACCURACY_S = 0.05
MEASUREMENT_S = 0.15

Lock = Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def plain(kind: int) -> Iterator[None]:
    """One lock, shared or alone."""
    with (Path(tempfile.gettempdir()) / "plain.lock").open("w") as handle:
        fcntl.flock(handle, kind)
        yield


LOCKS: dict[str, tuple[Lock, Lock]] = {
    "who waits to measure first": (quiet.working, quiet.alone),
    "plain": (lambda: plain(fcntl.LOCK_SH), lambda: plain(fcntl.LOCK_EX)),
}


def search(
    number: int, name: str, folder: str, end: float, found: "multiprocessing.Queue[list[float]]"
) -> None:
    """Trials until the end; seconds that each waited to measure."""
    tempfile.tempdir = folder
    working, alone = LOCKS[name]
    lengths = random.Random(number)
    waited = []
    while time.monotonic() < end:
        with working():
            time.sleep(lengths.uniform(*WORK_S))
            with working():
                time.sleep(ACCURACY_S)
        start = time.monotonic()
        with alone():
            waited.append(time.monotonic() - start)
            time.sleep(MEASUREMENT_S)
    found.put(waited)


def compare(processes: int, seconds: float, rounds: int) -> Iterator[dict[str, object]]:
    """One row a lock and round, in turn."""
    for number in range(rounds):
        for name in list(LOCKS)[:: 1 if number % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                found: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
                end = time.monotonic() + seconds
                searches = [
                    multiprocessing.Process(target=search, args=(i, name, folder, end, found))
                    for i in range(processes)
                ]
                for process in searches:
                    process.start()
                waits = [wait for _ in searches for wait in found.get()]
                for process in searches:
                    process.join()
            yield {
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
                "processes": processes,
                "seconds": seconds,
                "round": number + 1,
                "locks": name,
                "trials": len(waits),
                "median_wait_s": round(statistics.median(waits), 3),
                "longest_wait_s": round(max(waits), 3),
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for processes in arguments.processes:
        for row in compare(processes, arguments.seconds, arguments.rounds):
            rows.append(row)
            print(*list(row.values())[2:], flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
