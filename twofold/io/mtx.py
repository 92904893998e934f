"""`read_mtx` and `write_mtx`: matrices without ids, in the Matrix Market format."""

import gzip
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io, sparse

from twofold._common.checks import check_choice
from twofold.data.archive import damage_explained, replaced
from twofold.data.csr import Duplicates, build_csr
from twofold.data.pairings import Pairings, check_pairings, to_csr
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["read_mtx", "write_mtx"]

# Where mmread has this option: without it scipy 1.18 warns.
_AS_ARRAY: dict[str, Any] = (
    {"spmatrix": False} if "spmatrix" in inspect.signature(io.mmread).parameters else {}
)


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
    """
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    with damage_explained(path, "a Matrix Market file"):
        with open(path, "rb"):  # scipy's message for a missing file depends on its version
            matrix = io.mmread(os.fspath(path), **_AS_ARRAY)
        if not sparse.issparse(matrix):
            raise FileFormatError(
                f"{str(path)!r} holds a dense matrix: it must be in coordinate format"
            )
    matrix = to_csr(matrix, f"the matrix in {str(path)!r}").tocoo()
    row_ids, col_ids = (np.arange(1, size + 1) for size in matrix.shape)
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if bad.size:
        row, col = matrix.row[bad[0]] + 1, matrix.col[bad[0]] + 1
        raise InvalidInputError(
            f"{str(path)!r} holds {matrix.data[bad[0]]} in row {row}, column {col}: values must be "
            "finite"
        )
    rows, cols = matrix.row.astype(np.int32), matrix.col.astype(np.int32)
    values = None if (matrix.data == 1.0).all() else matrix.data.astype(np.float64)
    merged, _ = build_csr(rows, cols, values, row_ids, col_ids, duplicates)
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
    """
    check_pairings(pairings)
    with replaced(path) as file:
        if Path(path).suffix == ".gz":
            with gzip.open(file, "wb") as compressed:
                io.mmwrite(compressed, pairings.matrix, symmetry="general")
        else:
            io.mmwrite(file, pairings.matrix, symmetry="general")
