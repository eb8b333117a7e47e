"""What the user writes of workers: an interpreter's command line, and indices of GPUs."""

import os
import shlex
import shutil
from pathlib import Path

from autosinian.errors import InputError


def check_python(program: str) -> None:
    """Raise `InputError` unless `program` can be run."""
    if shutil.which(program) is not None:
        return
    if Path(program).is_file() and not os.access(program, os.X_OK):
        reason = "is not executable"
    elif Path(program).is_dir():
        reason = "is a folder"
    else:
        reason = "does not exist"
    raise InputError(
        f"`--worker-python` must name a Python interpreter, such as /usr/bin/python3.11, but "
        f"`{program}` {reason}"
    )


def parse_python(text: str | None) -> tuple[str, ...]:
    """The words of `--worker-python`, none without it. Raises `InputError`."""
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(
            f"`--worker-python` must be a command line as a shell reads it, but got `{text}` "
            f"({str(error).lower()})"
        ) from error
    if not words:
        raise InputError("`--worker-python` must name a Python interpreter, but got nothing")
    return words


def parse_devices(text: str | None) -> tuple[int, ...] | None:
    """The indices of `--devices`, None without it. Raises `InputError`."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise InputError(f"`--devices` must be GPU indices such as 0 or 0,1, but got `{text}`")
    return tuple(map(int, words))
