"""Calls a device function, which has no wrapper for Python."""

from functools import cache

import numba


@cache
def _wrapped(function):
    if numba.config.DISABLE_JIT:
        return function

    @numba.njit(error_model="numpy")
    def run(*args):
        return function(*args)

    return run


def call(function, *args):
    """Call a device function from Python: ``call(cholesky, A, n)``."""
    return _wrapped(function)(*args)
