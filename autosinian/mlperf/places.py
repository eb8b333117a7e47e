"""Where what is made on the way to a submission lies, below one folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosinian.errors import InputError


def arrays_folder(build: Path) -> Path:
    """Preprocessed samples, by content key."""
    return build / "preprocessed_data"


def models_folder(build: Path) -> Path:
    """ONNX files, by content key."""
    return build / "models"


@contextmanager
def writing_below(build: Path) -> Iterator[None]:
    """Raise `InputError` in place of an `OSError`: a full disk, a folder that is none."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"`{build}` must take the files of a run, but: {error.strerror or error}; free space "
            "or choose another place with `--build-dir`"
        ) from error
