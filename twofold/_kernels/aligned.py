"""Arrays aligned to cache lines, so that rows of whole cache lines never share one."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.mapped import mapped_memory
from twofold._kernels.reused import reused_memory

LINE = 64
"""Size of a cache line in bytes."""


def address(array: NDArray[Any]) -> int:
    """Return the address of an array's data; `ndarray.ctypes` takes ten times longer."""
    pointer: int = array.__array_interface__["data"][0]
    return pointer


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an uninitialised array that is aligned to a cache line.

    It is in a file within `arrays_in`, and may be in memory of earlier arrays within `memory_of`.
    """
    size = math.prod(shape)
    n_bytes = size * np.dtype(dtype).itemsize
    mapped = mapped_memory(n_bytes)
    if mapped is not None:  # A page is a multiple of cache lines.
        return np.frombuffer(mapped, dtype).reshape(shape)
    reused = reused_memory(n_bytes)
    if reused is not None:
        return np.frombuffer(reused, dtype, size).reshape(shape)
    memory = np.empty(size + LINE, dtype)
    first = -address(memory) % LINE // memory.itemsize
    return memory[first : first + size].reshape(shape)


def empty_lines(n: int, k: int, dtype: Any) -> NDArray[Any]:
    """Return an aligned array with at least k columns, whose rows are whole cache lines."""
    lanes = LINE // np.dtype(dtype).itemsize
    return empty_aligned((n, -(-k // lanes) * lanes), dtype)


def aligned_copy(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a C-contiguous copy that is aligned to a cache line."""
    copy = empty_aligned(array.shape, dtype)
    copy[...] = array
    return copy
