"""The idx format of MNIST and Fashion-MNIST: big-endian header, then unsigned bytes.

Source of the format: http://yann.lecun.com/exdb/mnist (0x00 0x00, type 0x08, number of
dimensions, one 32-bit size for each).
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError

UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped where its name ends with `.gz`.

    Raises `InputError` where the file is absent, damaged, or of another type.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read `{path}`: {error}; replace it by the original") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise InputError(f"`{path}` must be an idx file of unsigned bytes, but its header is not")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise InputError(f"`{path}` ends within its header; replace it by the original")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != int(np.prod(shape, dtype=np.int64)):
        raise InputError(
            f"`{path}` must hold {' x '.join(map(str, shape))} bytes after its header, "
            f"but holds {len(content) - header}; replace it by the original"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """Write a gzipped idx file; equal values give equal bytes."""
    header = bytes((0, 0, UNSIGNED_BYTE, values.ndim)) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))
