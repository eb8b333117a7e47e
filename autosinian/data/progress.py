"""Progress of long work on stderr, with the time left."""

import sys
import time

QUIET_S = 2.0
INTERVAL_S = 0.5
INTERVAL_WITHOUT_TERMINAL_S = 15.0


class Progress:
    """Counts samples; says nothing about work that ends within two seconds.

    A terminal gets one line that is written over; a log file gets a line every 15 s.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._start = self._told = time.monotonic()
        self._line = 0

    def advance(self, done: int) -> None:
        """Tell that `done` of the total are done, where it is time to."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        interval = INTERVAL_S if terminal else INTERVAL_WITHOUT_TERMINAL_S
        finished = done >= self._total and self._line > 0
        if not finished and (now - self._start < QUIET_S or now - self._told < interval):
            return
        self._told = now
        left = (now - self._start) / done * (self._total - done)
        text = f"{self._what}: {done:,} of {self._total:,}, {told_duration(left)} left"
        if terminal:
            print(f"\r{text:<{self._line}}", end="\n" if finished else "", file=sys.stderr)
        else:
            print(text, file=sys.stderr)
        sys.stderr.flush()
        self._line = len(text)


def told_duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
