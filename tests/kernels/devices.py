"""Calls of device functions from Python."""

from functools import cache

import numba


@cache
def _compiled_wrapper(function):
    if numba.config.DISABLE_JIT:
        return function

    @numba.njit(error_model="numpy")
    def run(*args):
        return function(*args)

    return run


def call(function, *args):
    """Call a device function: ``call(cholesky, A, n)``."""
    return _compiled_wrapper(function)(*args)
