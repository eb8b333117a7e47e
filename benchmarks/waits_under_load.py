"""What a batch loses by how its end is waited for, when others want the cores too.

    python benchmarks/waits_under_load.py --output benchmarks/results/waits_under_load.csv

The session and the raw loop are the real ones; the device is a clock, so that it needs no core and
always takes the same time: two lanes of one stream, one batch after another. Its end is waited for
`spinning`, as CUDA's events are by default, or `asleep`, as blocking ones are; in C, without
Python's lock. `hogs` processes that only compute run beside it, each in a session of its own or all
in this one's, which matters where Linux shares cores out by sessions (autogroups).
"""

import argparse
import csv
import ctypes
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.device_session import DeviceSession
from autosinian.engine.processor import processor_name, usable_cores
from autosinian.measure.core_waits import WAITED, CoreWaits
from autosinian.measure.raw_loop import Ready, raw_loop

SOURCE = r"""
#include <stdint.h>
#include <time.h>
int64_t now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec;
}
void spinning(int64_t end) { while (now() < end); }
void asleep(int64_t end) {
  struct timespec t = {end / 1000000000LL, end % 1000000000LL};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0);
}
"""
BATCH, CLASSES = 256, 10
FIELDS = ("date", "processor", "cores", "load_average", "hogs", "sessions", "batch_ms", "wait")
VALUES = ("lost_ms", "waited_for_cores_s", "rounds")


class Clock:
    """A device that is done with what it was given at `end`, in nanoseconds."""

    end = 0


class ClockLane:
    """One batch of `batch_ns` on the clock."""

    def __init__(self, library: ctypes.CDLL, clock: Clock, batch_ns: int, wait: str) -> None:
        self._now, self._wait = library.now, getattr(library, wait)
        self._clock, self._batch_ns, self._end = clock, batch_ns, 0
        self._logits = np.zeros((BATCH, CLASSES), np.float32)

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Nothing is read."""

    def select(self, rows: NDArray[np.int64]) -> None:
        """Nothing is read."""

    def start(self, count: int, *, placed: bool) -> None:
        """The batch runs when those before are done."""
        self._clock.end = max(self._clock.end, int(self._now())) + self._batch_ns
        self._end = self._clock.end

    def finish(self) -> None:
        """Wait for its end."""
        self._wait(self._end)

    def logits(self, count: int) -> NDArray[np.float32]:
        """Zeros."""
        return self._logits[:count]


def compiled(folder: Path) -> ctypes.CDLL:
    """The clock and both ways to wait for it."""
    source, made = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source], check=True)
    library = ctypes.CDLL(str(made))
    library.now.restype = ctypes.c_int64
    for name in ("spinning", "asleep"):
        getattr(library, name).argtypes = [ctypes.c_int64]
    return library


@contextmanager
def hogs(count: int, *, sessions: bool) -> Iterator[None]:
    """Processes that only compute."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command, start_new_session=sessions) for _ in range(count)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def lost(make: Callable[[], ClockLane], batch_ms: float, seconds: float) -> tuple[float, float]:
    """Milliseconds that a batch took too long, and seconds that threads waited for cores."""
    session = DeviceSession(
        [[make(), make()]],
        make(),
        batch_size=BATCH,
        input_shape=(1, 1, 1),
        classes=CLASSES,
        place=lambda samples: None,
        release=lambda: None,
    )
    try:
        session.place(np.zeros((BATCH, 1, 1, 1), np.float32))
        submit = partial(session.submit_rows, np.arange(BATCH))
        ready = Ready(BATCH, (submit,), lambda count: None, session.wait)
        raw_loop(ready, 0.2)
        waits = CoreWaits()
        rate, _, _ = raw_loop(ready, seconds)
        return 1e3 * BATCH / rate - batch_ms, waits.machine().get(WAITED, float("nan"))
    finally:
        session.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--hogs", type=int, nargs="+", help="none, and twice the cores if not given"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    common = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor_name(),
        "cores": usable_cores(),
    }
    with tempfile.TemporaryDirectory() as folder, given.output.open("w", newline="") as stream:
        library = compiled(Path(folder))
        writer = csv.DictWriter(stream, (*FIELDS, *VALUES))
        writer.writeheader()
        for count in given.hogs or (0, 2 * usable_cores()):
            for sessions in (True, False) if count else (True,):
                found: dict[tuple[float, str], list[tuple[float, float]]] = {}
                with hogs(count, sessions=sessions):
                    for _ in range(given.rounds):
                        for batch_ms in (2.9, 10.7):
                            for wait in ("spinning", "asleep"):
                                clock = Clock()
                                make = partial(
                                    ClockLane, library, clock, round(1e6 * batch_ms), wait
                                )
                                one = lost(make, batch_ms, given.seconds)
                                found.setdefault((batch_ms, wait), []).append(one)
                    load = round(os.getloadavg()[0], 1)
                for (batch_ms, wait), values in found.items():
                    row = {
                        **common,
                        "load_average": load,
                        "hogs": count,
                        "sessions": "own" if sessions else "one",
                        "batch_ms": batch_ms,
                        "wait": wait,
                        "lost_ms": round(median(v[0] for v in values), 2),
                        WAITED: round(median(v[1] for v in values), 2),
                        "rounds": given.rounds,
                    }
                    writer.writerow(row)
                    stream.flush()
                    print({k: v for k, v in row.items() if k not in common}, file=sys.stderr)


if __name__ == "__main__":
    main()
