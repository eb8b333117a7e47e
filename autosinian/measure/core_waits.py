"""How long the threads of this process could run but had no core to run on."""

from pathlib import Path

WAITED = "waited_for_cores_s"
"""Where `Measurement.machine` says it for the timed part of a run, all threads together."""


def waited_for_cores_s() -> float | None:
    """Seconds so far, of threads that still live; None where the kernel does not count them.

    The second field of `/proc/<pid>/task/<tid>/schedstat`, in nanoseconds (the kernel's
    Documentation/scheduler/sched-stats.rst).
    """
    total = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            if task.exists():
                return None
            # The thread has ended meanwhile.
        except (ValueError, IndexError):
            return None
    return total * 1e-9


class CoreWaits:
    """Counts from when it is made; `machine` is what `Measurement.machine` gets."""

    def __init__(self) -> None:
        self._before = waited_for_cores_s()

    def machine(self) -> dict[str, float]:
        """`waited_for_cores_s`; empty where the kernel does not count it."""
        now = waited_for_cores_s()
        if now is None or self._before is None:
            return {}
        return {WAITED: round(max(0.0, now - self._before), 3)}
