"""Large arrays in files that are mapped into memory, so that together they may exceed it."""

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError

__all__ = ["arrays_in", "mapped_memory", "release_pages"]

_LEAST_BYTES = 1 << 20  # Smaller arrays are not worth a file.
_folder: ContextVar[str | None] = ContextVar("array_folder", default=None)


@contextmanager
def arrays_in(folder: str | None) -> Iterator[None]:
    """Within this context and thread, `empty_aligned` places large arrays in files of a folder.

    None restores ordinary memory. The files have no name, so the system removes them with their
    arrays, even if the process is killed.
    """
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def mapped_memory(n_bytes: int) -> mmap.mmap | None:
    """Return the memory of a new file, or None where ordinary memory is to be used.

    Raises
    ------
    InvalidInputError
        If the file cannot be created, for example because the disk is full.
    """
    folder = _folder.get()
    if folder is None or n_bytes < _LEAST_BYTES:
        return None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file.fileno(), n_bytes)
            return mmap.mmap(file.fileno(), n_bytes)
    except OSError as error:
        raise InvalidInputError(
            f"the folder {folder!r} cannot hold an array of {n_bytes / 1e6:,.0f} MB "
            f"({error.strerror}): give another folder, on a disk with enough space"
        ) from error


def release_pages(array: NDArray[Any]) -> None:
    """Leave the numbers of an array of `arrays_in` to the file until they are read again."""
    memory: Any = array
    while isinstance(memory, np.ndarray):
        memory = memory.base
    memory = memory.obj if isinstance(memory, memoryview) else memory
    if isinstance(memory, mmap.mmap) and hasattr(memory, "madvise"):
        memory.madvise(mmap.MADV_DONTNEED)


def _reserve(descriptor: int, n_bytes: int) -> None:
    """Allocate the blocks of a file: writing to a mapped hole of a full disk ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, n_bytes)
        return
    zeros = memoryview(bytes(1 << 20))
    while n_bytes > 0:
        n_bytes -= os.write(descriptor, zeros[:n_bytes])
