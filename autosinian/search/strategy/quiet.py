"""Linear algebra on one thread: the matrices are small, and others measure on the same cores."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Looking for the libraries takes milliseconds.
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """While the block runs, BLAS uses one thread; results are the same on any number of cores."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited
