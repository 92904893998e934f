"""Memory of large arrays that is used again, because new pages of memory take much time."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReusedMemory", "memory_of", "reused_memory"]

_LEAST_BYTES = 1 << 20  # Smaller arrays are in ordinary memory.
_LARGEST_RATIO = 1.5  # of the memory of an array to what it needs
_LINE = 64
_memory: ContextVar["ReusedMemory | None"] = ContextVar("reused_memory", default=None)


@contextmanager
def memory_of(memory: "ReusedMemory | None") -> Iterator[None]:
    """Within this context and thread, `empty_aligned` takes large arrays from ``memory``.

    None stands for ordinary memory.
    """
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)


def reused_memory(n_bytes: int) -> NDArray[np.uint8] | None:
    """Return aligned memory of at least so many bytes, or None for ordinary memory."""
    memory = _memory.get()
    return None if memory is None or n_bytes < _LEAST_BYTES else memory.lent(n_bytes)


class ReusedMemory:
    """Memory of arrays that have ended, for later arrays.

    Parameters
    ----------
    most_bytes : int
        The most that is kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: list[memoryview] = []
        self._returned: deque[memoryview] = deque()
        self._lock = Lock()

    @property
    def n_bytes(self) -> int:
        """Number of bytes that are kept."""
        return sum(one.nbytes for one in (*self._kept, *self._returned))

    def lent(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return aligned memory of at least so many bytes, which returns with its last view."""
        with self._lock:
            self._sort_in()
            sizes = [one.nbytes for one in self._kept]
            fitting = [size for size in sizes if n_bytes <= size <= _LARGEST_RATIO * n_bytes]
            found = self._kept.pop(sizes.index(min(fitting))) if fitting else _new(n_bytes)
        # Views of this array refer to it and not to its memory, because that is no array.
        array: NDArray[Any] = np.frombuffer(found, np.uint8)
        finalize(array, self._take_back, found).atexit = False
        return array

    def _take_back(self, memory: memoryview) -> None:
        """Keep the memory of an array that has ended, perhaps within `lent` of this thread."""
        self._returned.append(memory)
        if self._lock.acquire(blocking=False):
            try:
                self._sort_in()
            finally:
                self._lock.release()

    def _sort_in(self) -> None:
        """Keep the memory that was returned, and leave out the oldest where it is too much."""
        while self._returned:
            self._kept.append(self._returned.popleft())
        while self._kept and sum(one.nbytes for one in self._kept) > self.most_bytes:
            self._kept.pop(0)


def _new(n_bytes: int) -> memoryview:
    whole: Any = np.empty(n_bytes + _LINE, np.uint8)
    first = -whole.__array_interface__["data"][0] % _LINE
    return memoryview(whole[first : first + n_bytes])
