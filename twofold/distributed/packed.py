"""`Packed`: objects with arrays on their way to workers."""

from typing import Any

import numpy as np

__all__ = ["Packed"]


class Packed:
    """An object whose arrays are pickled with it, so that the copies have memory of their own.

    Dask places them at any position of a buffer, and numba compiles kernels again for arrays that
    are not aligned. The object is made in the first task that uses it, which raises the errors.
    """

    def __init__(self, content: Any, pickled: bytes | None = None) -> None:
        self._content, self._pickled = content, pickled

    @property
    def content(self) -> Any:
        """The object."""
        if self._pickled is not None:
            from distributed.protocol.pickle import loads

            self._content, self._pickled = loads(self._pickled), None
        return self._content

    def __sizeof__(self) -> int:
        """Return the bytes of the arrays, by which Dask manages the memory of workers."""
        return len(self._pickled) if self._pickled is not None else _array_bytes(self._content)

    def __reduce__(self) -> tuple[Any, ...]:
        from distributed.protocol.pickle import dumps

        pickled = self._pickled
        return Packed, (None, dumps(self._content) if pickled is None else pickled)


def _array_bytes(content: Any, depth: int = 6) -> int:
    """Return the bytes of the arrays in an object, its fields, and tuples, lists and dicts."""
    if isinstance(content, np.ndarray):
        return int(content.nbytes)
    parts: Any = content
    if not isinstance(content, list | tuple):
        parts = content if isinstance(content, dict) else getattr(content, "__dict__", {})
        parts = parts.values()
    return sum(_array_bytes(part, depth - 1) for part in parts) if depth else 0
