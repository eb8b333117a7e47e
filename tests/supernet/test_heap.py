"""Freed memory stays with the process within the block and goes back after it."""

import ctypes
from pathlib import Path

import pytest
import torch

from autosinian.supernet.heap import kept_heap

MEBIBYTE = 1 << 20

glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc"
)


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def take_and_free(size: int) -> None:
    torch.ones(size, dtype=torch.uint8)


@glibc
def test_freed_memory_is_kept_within_the_block_and_given_back_after_it() -> None:
    before = resident_bytes()
    with kept_heap():
        take_and_free(256 * MEBIBYTE)
        assert resident_bytes() > before + 200 * MEBIBYTE
    assert resident_bytes() < before + 50 * MEBIBYTE


@glibc
def test_after_an_error_memory_is_given_back_at_once_again() -> None:
    before = resident_bytes()
    with pytest.raises(ValueError, match="inside"), kept_heap():
        raise ValueError("inside")
    take_and_free(256 * MEBIBYTE)
    assert resident_bytes() < before + 50 * MEBIBYTE
