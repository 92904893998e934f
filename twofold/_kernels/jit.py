"""How kernels are compiled."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["FASTMATH", "jit", "parallel_jit"]

# Not all of fastmath, which assumes that NaN and infinity do not occur, and isnan answers False.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

jit: Callable[..., Any] = numba.njit(**_OPTIONS)
parallel_jit: Callable[..., Any] = numba.njit(parallel=True, **_OPTIONS)
