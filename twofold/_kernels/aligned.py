"""Arrays that begin where a cache line does: rows that are whole lines never share one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINE", "empty_aligned", "empty_lines"]

LINE = 64
"""Bytes of a cache line."""


def empty_aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Return an array that begins where a cache line does."""
    memory = np.empty(shape[0] * shape[1] + LINE, dtype)
    first = -memory.ctypes.data % LINE // memory.itemsize
    return memory[first : first + shape[0] * shape[1]].reshape(shape)


def empty_lines(n: int, k: int, dtype: Any) -> NDArray[Any]:
    """Return an aligned array for rows of at least k numbers, each of whole cache lines."""
    lanes = LINE // np.dtype(dtype).itemsize
    return empty_aligned((n, -(-k // lanes) * lanes), dtype)
