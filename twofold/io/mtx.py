"""`read_mtx` and `write_mtx`: matrices without ids, in the Matrix Market format."""

import gzip
import inspect
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io, sparse

from twofold._common.atomic import replaced
from twofold._common.checks import check_choice
from twofold.data.csr import Duplicates, build_csr
from twofold.data.files import damage_explained, kind_of_file
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["read_mtx", "write_mtx"]

# Where mmread has this option: without it scipy 1.18 warns.
_AS_ARRAY: dict[str, Any] = (
    {"spmatrix": False} if "spmatrix" in inspect.signature(io.mmread).parameters else {}
)

GZIP = "a file compressed by gzip"
_FORTRAN = re.compile(rb"^[^%].*[0-9.][dD][+-]?[0-9]+\s*$")


def read_mtx(path: str | os.PathLike[str], *, duplicates: Duplicates = "keep-one") -> Pairings:
    """Read a sparse matrix in the Matrix Market format.

    Parameters
    ----------
    path : str or path-like
        The file, by custom with the ending ``.mtx``; ``.mtx.gz`` if it is compressed.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times becomes; see `Pairings.from_arrays`.

    Returns
    -------
    Pairings
        The ids are the positions in the file, which count from 1, so also rows and columns without
        a pair have one. Every stored value is 1 if the file has a pattern without values.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged, of another kind, or holds a dense matrix.
    InvalidInputError
        If the file cannot be opened, a value is not a finite real number, or a duplicate is not
        allowed.

    Examples
    --------
    >>> write_mtx(Pairings.from_arrays(["a", "a", "b"], [7, 9, 7]), "pairs.mtx")
    >>> read = read_mtx("pairs.mtx")
    >>> read.row_ids.tolist(), read.col_ids.tolist(), read.n_pairs
    ([1, 2], [1, 2], 3)
    """
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    with damage_explained(path, "a Matrix Market file", "a Matrix Market file", GZIP):
        with (gzip.open if kind_of_file(path) == GZIP else open)(path, "rb") as file:
            for line in file:  # scipy reads 1.5D+02, as Fortran writes 150, as 1.5
                if _FORTRAN.match(line):
                    raise FileFormatError(
                        f"{str(path)!r} has the number {line.split()[-1].decode()!r}, with an "
                        "exponent of Fortran: write it with E"
                    )
        matrix = io.mmread(os.fspath(path), **_AS_ARRAY)
    if not sparse.issparse(matrix):
        raise FileFormatError(
            f"{str(path)!r} holds a dense matrix: it must be in coordinate format"
        )
    if matrix.dtype.kind not in "biuf":
        raise InvalidInputError(
            f"the matrix in {str(path)!r} has dtype {matrix.dtype}: it must hold real numbers"
        )
    coo = matrix.tocoo()
    row_ids, col_ids = (np.arange(1, size + 1) for size in coo.shape)
    bad = np.flatnonzero(~np.isfinite(coo.data))
    if bad.size:
        row, col = coo.row[bad[0]] + 1, coo.col[bad[0]] + 1
        raise InvalidInputError(
            f"{str(path)!r} holds {coo.data[bad[0]]} in row {row}, column {col}: values must be "
            "finite"
        )
    numbers = {} if (coo.data == 1.0).all() else {"value": coo.data.astype(np.float64)}
    merged, _ = build_csr(coo.row, coo.col, numbers, row_ids, col_ids, duplicates)
    return Pairings(merged, row_ids, col_ids)


def write_mtx(pairings: Pairings, path: str | os.PathLike[str]) -> None:
    """Write the matrix in the Matrix Market format, without the ids and weights.

    Position 1 in the file is the first of `row_ids` or `col_ids`. Values are written so that they
    are read as the same numbers. The file appears under its name when it is complete.

    Parameters
    ----------
    pairings : Pairings
        What to write.
    path : str or path-like
        The file, by custom with the ending ``.mtx``, which is not added. One that ends in ``.gz``
        is compressed.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.

    Examples
    --------
    >>> write_mtx(Pairings.from_arrays(["a", "a", "b"], [7, 9, 7]), "pairs.mtx")
    >>> Path("pairs.mtx").read_text().splitlines()[-1].split()[:2]
    ['2', '1']
    """
    check_pairings(pairings)
    with replaced(path) as file:
        compressed = Path(path).suffix == ".gz"
        with gzip.open(file, "wb") if compressed else nullcontext(file) as opened:
            io.mmwrite(opened, pairings.matrix, symmetry="general")
