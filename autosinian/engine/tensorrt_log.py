"""What TensorRT says, kept so that its own words reach whoever reads about a failure."""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

_KEPT = 50
_SHOWN = 400


def fresh_log(trt: Any, listen: Callable[[str], None] | None = None) -> Any:
    """The process's logger, which has heard nothing so far; from now on `listen` hears all.

    Its `errors` and `warnings` are the latest ones, oldest first. Nothing is printed: a build
    says hundreds of lines.
    """
    log = _log(trt)
    log.errors.clear()
    log.warnings.clear()
    log.listen = listen
    return log


@functools.cache
def _log(trt: Any) -> Any:
    """One for the whole process: TensorRT goes on with the first while any object has it."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_KEPT)
            self.warnings: deque[str] = deque(maxlen=_KEPT)
            self.listen: Callable[[str], None] | None = None

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)
            if self.listen is not None:
                self.listen(message)

    return Log()


def last_words(log: Any) -> str:
    """The last error in one line."""
    return one_line(log.errors[-1]) if log.errors else "it does not say why"


def out_of_memory(log: Any) -> bool:
    """Whether any of the errors kept is about the GPU's memory."""
    return any("out of memory" in words.lower() or "OutOfMemory" in words for words in log.errors)


def one_line(words: str) -> str:
    """`words` without line breaks, cut where they get long."""
    return " ".join(words.split())[:_SHOWN]
