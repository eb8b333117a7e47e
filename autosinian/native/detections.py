"""Detections by compiled code, in several threads: the structure of `detections.cc`."""

import ctypes
import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.content import content_key, file_sha256
from autosinian.errors import InputError
from autosinian.native.loadgen import cache_folder

DETECTIONS_SOURCE = Path(__file__).with_name("detections.cc")
_COLUMNS = 7


def library_path() -> Path:
    """Where the library for this kind of machine lies once compiled; any interpreter loads it."""
    key = content_key(platform.system(), platform.machine(), file_sha256(DETECTIONS_SOURCE))
    return cache_folder() / key[:16] / "detections.so"


def find_library() -> Path | None:
    """The compiled library, None where there is none that fits."""
    path = library_path()
    return path if path.is_file() else None


class _Decoder(ctypes.Structure):
    _fields_ = (
        ("boxes", ctypes.c_int32),
        ("classes", ctypes.c_int32),
        ("defaults", ctypes.c_void_p),
        ("centre_variance", ctypes.c_float),
        ("size_variance", ctypes.c_float),
        ("score", ctypes.c_float),
        ("overlap", ctypes.c_float),
        ("candidates", ctypes.c_int32),
        ("kept", ctypes.c_int32),
    )


class CompiledDetections:
    """Makes responses of a detector's rows without Python's lock.

    `defaults` is `boxes x 4` (x, y of the centre, width, height), `classes` counts the background;
    the rest is the rule of `autosinian.detection.suppression` and the variances of the offsets.
    Raises `InputError` for a library that does not load.
    """

    def __init__(
        self,
        library: Path,
        defaults: NDArray[np.float32],
        classes: int,
        *,
        variances: tuple[float, float],
        score: float,
        overlap: float,
        candidates: int,
        kept: int,
        threads: int,
    ) -> None:
        try:
            self._function = ctypes.CDLL(str(library)).autosinian_detections
        except (OSError, AttributeError) as error:
            raise InputError(
                f"compiled code must load, but {library} does not ({error}); compile it again by "
                "`autosinian compile-sut`, or `autosinian compile-sut --remove`"
            ) from error
        self._function.restype = None
        self._defaults = np.ascontiguousarray(defaults, np.float32)
        self._length = (4 + classes) * len(defaults)
        self._kept, self._threads = kept, threads
        self._decoder = _Decoder(
            boxes=len(defaults),
            classes=classes,
            defaults=self._defaults.ctypes.data,
            centre_variance=variances[0],
            size_variance=variances[1],
            score=score,
            overlap=overlap,
            candidates=candidates,
            kept=kept,
        )

    def responses(
        self, indices: NDArray[np.int64], outputs: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """Of each image its detections, `n x 7`: index, top, left, bottom, right, score, class.

        `outputs` is `images x row length`. Raises `ValueError` for another shape.
        """
        images = len(indices)
        if outputs.shape != (images, self._length):
            raise ValueError(
                f"outputs must be {images} x {self._length}, got "
                f"{' x '.join(map(str, outputs.shape))}"
            )
        given = np.ascontiguousarray(outputs, np.float32)
        numbers = np.ascontiguousarray(indices, np.int64)
        rows = np.empty((images, self._kept, _COLUMNS), np.float32)
        counts = np.empty(images, np.int32)
        self._function(
            ctypes.byref(self._decoder),
            *(ctypes.c_void_p(array.ctypes.data) for array in (given, numbers)),
            ctypes.c_int64(images),
            ctypes.c_int32(self._threads),
            *(ctypes.c_void_p(array.ctypes.data) for array in (rows, counts)),
        )
        return [rows[image, :count] for image, count in enumerate(counts.tolist())]
