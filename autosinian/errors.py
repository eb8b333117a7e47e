"""The few errors of this package; every message says what must hold, what was given, what to do."""

import errno


class AutosinianError(Exception):
    """A failure that is told to the user in one line; the process exits with 1."""

    exit_code = 1


class InputError(AutosinianError):
    """What the user gave cannot be used; the process exits with 2."""

    exit_code = 2


class Unavailable(InputError):  # noqa: N818  (a state that passes)
    """Something a search needs is away for now, such as room on the disk: waiting may mend it."""


class TrialFailure(AutosinianError):  # noqa: N818  (a verdict on one candidate, not on the program)
    """One candidate could not be built or measured; it is recorded infeasible with this reason.

    `stage` names the step that failed: `"extract"`, `"quantize"`, `"build"`, `"accuracy"` or
    `"performance"`. `transient` is true where the same candidate may succeed another time (a
    killed process, a full disk) and false where it cannot.
    """

    def __init__(self, stage: str, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.transient = transient


def is_disk_full(error: OSError) -> bool:
    """Whether there is no room, or none left of a quota: what waiting may mend."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
