"""TensorRT's `calibrator.cache`: one scale per tensor, read and written bit for bit."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosinian.content import atomic_file
from autosinian.errors import InputError

# `0 <cutoff> <quantile>`, float64 as 16 hex digits, of TensorRT's legacy calibrator, or
# `TRT-<version>-<algorithm>` of all others.
_LEGACY_HEADER = re.compile(r"\d+ ([0-9a-fA-F]{16}) ([0-9a-fA-F]{16})")
_TRT_HEADER = re.compile(r"TRT-(\d+)-(\S+)")
_SCALE = re.compile(r"[0-9a-fA-F]{8}")


@dataclass(frozen=True)
class CalibratorCache:
    """What a file holds: its header line, and for each tensor the scale's hex digits as written.

    A scale is a big-endian float32; the tensor's range is symmetric, scale x 127.
    """

    header: str
    entries: tuple[tuple[str, str], ...]
    final_newline: bool = True

    @property
    def scales(self) -> Mapping[str, np.float32]:
        """Scale of each tensor; the last one where a name comes twice."""
        return {
            name: np.float32(struct.unpack(">f", bytes.fromhex(h))[0]) for name, h in self.entries
        }

    @property
    def algorithm(self) -> str:
        """The calibrator as TensorRT calls it, e.g. `EntropyCalibration2`."""
        match = _TRT_HEADER.fullmatch(self.header)
        return match[2] if match else "LegacyCalibration"

    @property
    def quantile(self) -> float | None:
        """Share of values within the range, by the legacy header; None with the other one."""
        match = _LEGACY_HEADER.fullmatch(self.header)
        return float(struct.unpack(">d", bytes.fromhex(match[2]))[0]) if match else None

    @classmethod
    def make(cls, header: str, scales: Mapping[str, np.float32]) -> "CalibratorCache":
        """A cache of these scales, in their order."""
        entries = ((name, struct.pack(">f", float(s)).hex()) for name, s in scales.items())
        return cls(header, tuple(entries))


def legacy_header(quantile: float, cutoff: float = 1.0) -> str:
    """The header of a percentile calibration: `quantile` is the share within the range, 0 to 1."""
    return f"0 {struct.pack('>d', cutoff).hex()} {struct.pack('>d', quantile).hex()}"


def read_calibrator_cache(path: Path) -> CalibratorCache:
    """Read a cache with either header. Raises `InputError` that names the line that is wrong.

    Tensor names may hold spaces and colons: a line is split on its last colon.
    """
    try:
        # Names are bytes to TensorRT: what is not UTF-8 must come back as it was.
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} must be a calibrator.cache that can be read: {reason}") from error
    header, *lines = text.split("\n")
    if not (_LEGACY_HEADER.fullmatch(header) or _TRT_HEADER.fullmatch(header)):
        raise InputError(
            f"{path}:1 must be `TRT-<version>-<algorithm>` or `0 <float64 hex> <float64 hex>`, "
            f"but got `{_shown(header)}`"
        )
    final_newline = bool(lines) and lines[-1] == ""
    if final_newline:
        lines.pop()
    entries = []
    for number, line in enumerate(lines, start=2):
        name, colon, digits = line.rpartition(": ")
        if not colon or not name or not _SCALE.fullmatch(digits):
            raise InputError(
                f"{path}:{number} must be `<tensor name>: <8 hex digits>`, but got `{_shown(line)}`"
            )
        entries.append((name, digits))
    return CalibratorCache(header, tuple(entries), final_newline)


def write_calibrator_cache(path: Path, cache: CalibratorCache) -> None:
    """Write a cache; one that was read comes out with the same bytes."""
    lines = [cache.header, *(f"{name}: {digits}" for name, digits in cache.entries)]
    for number, line in enumerate(lines, start=1):
        if "\n" in line:
            raise InputError(f"tensor names must not hold line breaks, but line {number} has one")
    text = "\n".join(lines) + ("\n" if cache.final_newline else "")
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))


def _shown(line: str) -> str:
    return ascii(line[:80])[1:-1]
