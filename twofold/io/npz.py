"""`read_npz` and `write_npz`: pairings in one file."""

import os
import zipfile

import numpy as np
from scipy import sparse

from twofold._common.checks import check_path
from twofold.data.archive import (
    DAMAGE,
    damage_explained,
    names_of_arrays,
    read_archive,
    read_arrays,
    write_archive,
)
from twofold.data.pairings import Duplicates, Pairings, check_pairings, from_parts, parts_of
from twofold.exceptions import FileFormatError, TwofoldError

__all__ = ["read_npz", "write_npz"]

_KIND, _VERSION = "pairings", 1


def write_npz(pairings: Pairings, path: str | os.PathLike[str]) -> None:
    """Write the matrix, the weights and the ids to a file, without pickle.

    The file appears under its name when it is complete; one that exists is replaced. Names of
    tracks and playlists are not part of it (see `write_sql`).

    Parameters
    ----------
    pairings : Pairings
        What to write.
    path : str or path
        The file, by custom with the ending ``.npz``; none is added.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    check_pairings(pairings)
    write_archive(path, _KIND, _VERSION, *parts_of(pairings))


def read_npz(path: str | os.PathLike[str], *, duplicates: Duplicates = "keep-one") -> Pairings:
    """Read pairings from a ``.npz`` file.

    Parameters
    ----------
    path : str or path
        A file of `write_npz`; or of ``numpy.savez(rows=..., cols=...)``, perhaps with ``values``
        and ``weights``; or of ``scipy.sparse.save_npz``, where the positions in the matrix become
        the ids.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times in ``rows`` and ``cols`` becomes; see
        `Pairings.from_arrays`. The other two kinds of file are read entry by entry.

    Returns
    -------
    Pairings

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged or of another kind.
    InvalidInputError
        If the file cannot be opened, or its ids, values or weights cannot be used.
    """
    check_path(path)
    names = _members(path)
    try:
        if {"rows", "cols"} <= names:
            with zipfile.ZipFile(path) as file:
                arrays = read_arrays(file, names & {"rows", "cols", "values", "weights"})
            return Pairings.from_arrays(**arrays, duplicates=duplicates)
        if {"format", "shape"} <= names:
            with zipfile.ZipFile(path) as file:
                read_arrays(file, names)  # which notices damage that scipy would not
            matrix = sparse.load_npz(path)
            return Pairings(matrix, *(np.arange(size) for size in matrix.shape))
        parts = read_archive(path, _KIND, _VERSION)
        with damage_explained(path):
            return from_parts(*parts)
    except TwofoldError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{str(path)!r} is truncated or damaged: {error}") from error


def _members(path: str | os.PathLike[str]) -> set[str]:
    """Names of the arrays in the file, or none if there is no saying."""
    try:
        with zipfile.ZipFile(path) as file:
            return set(names_of_arrays(file))
    except DAMAGE:
        return set()  # read_archive says what is wrong
