"""`PartialEpoch`: what an epoch has finished, in a file beside the checkpoint of a run."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from twofold._common.warn import warn
from twofold._kernels.aligned import aligned_copy
from twofold.data.files import read_file, write_file
from twofold.exceptions import CheckpointWarning, FileFormatError, InvalidInputError

__all__ = ["PartialEpoch"]

Array = NDArray[Any]
_KIND, _VERSION = "partial epoch", 1


@dataclass(frozen=True)
class PartialEpoch:
    """A file with an array of an unfinished epoch, so that a killed run does not compute it again.

    Parameters
    ----------
    path : str
        The file.
    key : dict of str to str, int or float
        What determines the epoch. A file with another key, or one that is not whole, is ignored.
    """

    path: str
    key: dict[str, Any]

    def result(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return the array that the file has under this name, or compute and write it."""
        arrays = self._read()
        if name in arrays:
            return aligned_copy(arrays[name], arrays[name].dtype)
        array = compute()
        try:
            write_file(self.path, _KIND, _VERSION, {name: array}, self.key)
        except InvalidInputError as error:
            warn(f"half an epoch was not saved: {error}", CheckpointWarning)
        return array

    def has(self, name: str) -> bool:
        """Tell whether the file has an array of this name."""
        return name in self._read()

    def remove(self) -> None:
        """Remove the file, if there is one."""
        with suppress(OSError):
            os.unlink(self.path)

    def _read(self) -> dict[str, Array]:
        try:
            arrays, key = read_file(self.path, _KIND, _VERSION, mapped=True)
        except (FileFormatError, InvalidInputError):
            return {}
        return arrays if key == self.key else {}
