"""`read_npz`: pairings in ``.npz`` files, of twofold, numpy or scipy."""

import os
import zipfile
from typing import Any

import numpy as np
from scipy import sparse

from twofold.data.csr import Duplicates
from twofold.data.files import ZIP, damage_explained, read_arrays
from twofold.data.pairings import Pairings
from twofold.exceptions import FileFormatError

__all__ = ["read_npz"]

_KNOWN = ("rows", "cols", "values", "weights", "times", "row_ids")
_SYNONYMS = {"ratings": "values", "timestamps": "times"}


def read_npz(path: str | os.PathLike[str], *, duplicates: Duplicates = "keep-one") -> Pairings:
    """Read pairings from a ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
        A file of `Pairings.save`; or of ``numpy.savez(rows=..., cols=...)``, perhaps with
        ``values`` (or ``ratings``), ``weights``, ``times`` (or ``timestamps``) and ``row_ids`` as
        for `Pairings.from_arrays`; or of ``scipy.sparse.save_npz``, where the positions in the
        matrix become the ids.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair becomes that occurs several times in ``rows`` and ``cols``, as for
        `Pairings.from_arrays`. The other two kinds of file are read entry by entry.

    Returns
    -------
    Pairings

    Raises
    ------
    FileFormatError, InvalidInputError
        As for `Pairings.open`; also if there are arrays of other names, or ids, values or weights
        that cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> np.savez("pairs.npz", rows=[1, 1, 2], cols=[7, 9, 7])
    >>> read_npz("pairs.npz")
    <Pairings: 2 rows x 2 columns, 3 pairs>
    """
    with damage_explained(path, "a .npz file", ZIP):
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")}
            is_plain, is_scipy = {"rows", "cols"} <= names, {"format", "shape"} <= names
            if is_plain:
                _check_names(names, str(path))
            if is_plain or is_scipy:
                arrays = read_arrays(file, names)  # notices damage that scipy does not
        if is_scipy and not is_plain:
            if arrays["shape"].size != 2:
                raise FileFormatError(
                    f"{str(path)!r} holds an array of scipy with {arrays['shape'].size} "
                    "dimension: it must have 2"
                )
            matrix = sparse.load_npz(path)
    if is_plain:
        by_name: dict[str, Any] = {_SYNONYMS.get(name, name): arrays[name] for name in arrays}
        return Pairings.from_arrays(**by_name, duplicates=duplicates)
    if is_scipy:
        return Pairings(matrix, *(np.arange(size) for size in matrix.shape))
    return Pairings.open(path, mmap=False)


def _check_names(names: set[str], path: str) -> None:
    """Raise unless these arrays are those of `Pairings.from_arrays`, each under one name."""
    unknown = sorted(names - set(_KNOWN) - set(_SYNONYMS))
    if unknown:
        raise FileFormatError(
            f"{path!r} has an array {unknown[0]!r} beside rows and cols: the names are "
            f"{', '.join(_KNOWN)}"
        )
    for synonym, name in _SYNONYMS.items():
        if {synonym, name} <= names:
            raise FileFormatError(
                f"{path!r} has arrays {synonym!r} and {name!r}, which mean the same: leave one out"
            )
