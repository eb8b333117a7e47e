"""Memory of a computation on the processor that takes and frees large tensors again and again."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3), from <malloc.h>, and its own values of them.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 << 10, 65_536
_NEVER_TRIM = 2**31 - 1


@contextmanager
def kept_heap() -> Iterator[None]:
    """Keep freed memory in the process while the block runs; all of it goes back at its end.

    glibc takes large tensors from the kernel one by one and gives each back when it is freed, so
    that every layer of a network waits for its pages to be zeroed anew. Another C library is left
    as it is.
    """
    library = ctypes.CDLL(None)
    try:
        mallopt, malloc_trim = library.mallopt, library.malloc_trim
    except AttributeError:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
        malloc_trim(0)
