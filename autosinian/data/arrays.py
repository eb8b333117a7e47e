"""Preprocessed samples as `.npy` files that are mapped into memory, made once for each key."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from autosinian.content import atomic_folder, write_json
from autosinian.data.preprocessing import Preprocessing
from autosinian.data.progress import Progress
from autosinian.data.samples import Samples
from autosinian.errors import InputError, Unavailable, is_disk_full

FORMAT = 1
RECORD = "rule.json"
CHUNK_BYTES = 32 << 20


@dataclass(frozen=True)
class Arrays:
    """Inputs and labels of one role on disk.

    `inputs` is an `.npy` of float32 or int8, `N x 3 x r x r` (`N x r x r x 4` in layout chw4);
    `labels` one of int64, `N`, or None. `key` is the content key of the sources and the rule.
    The rule itself is in `rule.json` beside them.
    """

    inputs: Path
    labels: Path | None
    key: str
    samples: int

    def open_inputs(self) -> NDArray[Any]:
        """The inputs mapped from disk, not read into memory."""
        mapped: NDArray[Any] = np.load(self.inputs, mmap_mode="r", allow_pickle=False)
        return mapped

    def read_labels(self) -> NDArray[np.int64]:
        """The labels; `InputError` where the source has none."""
        if self.labels is None:
            raise InputError(f"labels are needed, but the source of `{self.inputs}` has none")
        labels: NDArray[np.int64] = np.load(self.labels, allow_pickle=False)
        return labels


def find_arrays(folder: Path, key: str) -> Arrays | None:
    """What `folder` holds where it is whole and of that `key`, otherwise None."""
    try:
        record = json.loads((folder / RECORD).read_text())
        if record["key"] != key:
            return None
        for name, size in record["bytes"].items():
            if (folder / name).stat().st_size != size:
                return None
        labels = folder / "labels.npy" if "labels.npy" in record["bytes"] else None
        return Arrays(folder / "inputs.npy", labels, key, int(record["samples"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not there, or not one of ours: to be made.
        return None


def write_arrays(
    folder: Path,
    key: str,
    samples: Samples,
    preprocessing: Preprocessing,
    about: dict[str, Any],
    what: str,
) -> Arrays:
    """Preprocess `samples` into `folder`, whole or not at all, and say what was done beside them.

    Memory holds some 32 MiB of samples at a time. `about` goes into the record; `what` names the
    work in progress and errors. Arrays of another key in `folder` are replaced; anything else
    there is left alone with an `InputError`. Raises `Unavailable` for a disk that is full.
    """
    size = len(samples) * int(np.prod(preprocessing.shape)) * preprocessing.numpy_dtype.itemsize
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_writer(folder):
            found = find_arrays(folder, key)
            if found is not None:
                return found
            if folder.exists() and not (folder / RECORD).is_file():
                raise InputError(
                    f"`{folder}` must be absent or made by preprocessing, but holds something "
                    "else; choose another folder"
                )
            free = shutil.disk_usage(folder.parent).free
            if free < size:
                raise OSError(errno.ENOSPC, f"{free:,} bytes are free there")
            with atomic_folder(folder) as temporary:
                _fill(temporary, key, samples, preprocessing, about, what)
                if folder.exists():
                    # Aside and not away: killed here, the next run still finds no half of it.
                    folder.rename(_aside(folder))
            shutil.rmtree(_aside(folder), ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise (Unavailable if is_disk_full(error) else InputError)(
            f"{what} must be written to `{folder}` ({size:,} bytes), but: {reason}; "
            "free space or choose another folder"
        ) from error
    written = find_arrays(folder, key)
    assert written is not None
    return written


def _fill(
    folder: Path,
    key: str,
    samples: Samples,
    preprocessing: Preprocessing,
    about: dict[str, Any],
    what: str,
) -> None:
    shape = (len(samples), *preprocessing.shape)
    inputs_file = folder / "inputs.npy"
    digest = hashlib.sha256()
    with inputs_file.open("wb") as stream:
        # Written and not mapped: a full disk is then an error, not a SIGBUS.
        np.lib.format.write_array_header_1_0(
            stream,
            {
                "descr": np.lib.format.dtype_to_descr(preprocessing.numpy_dtype),
                "fortran_order": False,
                "shape": shape,
            },
        )
        for chunk in _chunks(samples, preprocessing, Progress(what, len(samples))):
            stream.write(chunk.data)
            digest.update(chunk.data)
    if samples.labels is not None:
        np.save(folder / "labels.npy", samples.labels, allow_pickle=False)
    write_json(
        folder / RECORD,
        {
            **about,
            "format": FORMAT,
            "key": key,
            "samples": len(samples),
            "shape": list(shape),
            "rule": preprocessing.rule(),
            "inputs_sha256": digest.hexdigest(),
            "bytes": {file.name: file.stat().st_size for file in sorted(folder.glob("*.npy"))},
            "pillow": PIL.__version__,
        },
    )


def _chunks(
    samples: Samples, preprocessing: Preprocessing, progress: Progress
) -> Iterator[NDArray[Any]]:
    """The inputs in order, `n x ...` at a time, C-contiguous."""
    sample_bytes = int(np.prod(preprocessing.shape)) * preprocessing.numpy_dtype.itemsize
    at_once = max(1, min(1024, CHUNK_BYTES // sample_bytes))
    workers = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(samples), at_once):
            end = min(first + at_once, len(samples))
            chunk = np.empty((end - first, *preprocessing.shape), preprocessing.numpy_dtype)
            # Blocks, as handing over single small images costs more than decoding them.
            block = -(-len(chunk) // (4 * workers))
            starts = range(first, end, block)
            for done in pool.map(
                _fill_block,
                (chunk[start - first : start - first + block] for start in starts),
                (range(start, min(start + block, end)) for start in starts),
                repeat(samples),
                repeat(preprocessing),
            ):
                progress.advance(done)
            yield chunk


def _fill_block(
    block: NDArray[Any], positions: range, samples: Samples, preprocessing: Preprocessing
) -> int:
    for row, position in zip(block, positions, strict=True):
        row[...] = preprocessing.apply(samples.read(position))
    return positions.stop


def _aside(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.replaced"


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Let one process at a time write `folder`; what a killed one left half-written is removed."""
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield
