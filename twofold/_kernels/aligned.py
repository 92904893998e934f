"""Arrays that begin where a cache line does: rows that are whole lines never share one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINE", "empty_aligned", "empty_lines", "widened"]

LINE = 64
"""Bytes of a cache line."""


def empty_aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Return an array that begins where a cache line does."""
    room = np.empty(shape[0] * shape[1] + LINE, dtype)
    first = -room.ctypes.data % LINE // room.itemsize
    return room[first : first + shape[0] * shape[1]].reshape(shape)


def widened(factors: NDArray[Any]) -> NDArray[Any]:
    """Return factors with columns of zeros up to a multiple of 8, as vector kernels want them."""
    n, k = factors.shape
    if k % 8 == 0:
        return factors
    copy = empty_aligned((n, k + -k % 8), factors.dtype)
    copy[:, :k], copy[:, k:] = factors, 0.0
    return copy


def empty_lines(n: int, k: int, dtype: Any) -> NDArray[Any]:
    """Return an aligned array for rows of at least k numbers, each of whole cache lines."""
    lanes = LINE // np.dtype(dtype).itemsize
    return empty_aligned((n, -(-k // lanes) * lanes), dtype)
