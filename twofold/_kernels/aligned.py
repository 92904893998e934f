"""Arrays that begin where a cache line does: rows that are whole lines never share one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64
"""Bytes of a cache line."""


def address(array: NDArray[Any]) -> int:
    """Return where the data of an array begin; `ndarray.ctypes` takes ten times longer."""
    where: int = array.__array_interface__["data"][0]
    return where


def empty_aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Return an array that begins where a cache line does."""
    memory = np.empty(shape[0] * shape[1] + LINE, dtype)
    first = -address(memory) % LINE // memory.itemsize
    return memory[first : first + shape[0] * shape[1]].reshape(shape)


def empty_lines(n: int, k: int, dtype: Any) -> NDArray[Any]:
    """Return an aligned array for rows of at least k numbers, each of whole cache lines."""
    lanes = LINE // np.dtype(dtype).itemsize
    return empty_aligned((n, -(-k // lanes) * lanes), dtype)


def aligned_copy(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a copy, C-contiguous, that begins where a cache line does."""
    copy = empty_aligned(array.shape, dtype)
    copy[...] = array
    return copy
