"""CSR arrays: built from positions of pairs, or converted from any sparse matrix entry by entry."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold.exceptions import InvalidInputError

__all__ = [
    "Duplicates", "EntryError", "as_csr", "build_csr", "check_limit", "is_ascending", "pair_at",
    "with_data",
]  # fmt: skip

Duplicates = Literal["keep-one", "count", "error"]

_LIMIT = np.iinfo(np.int32).max


class EntryError(InvalidInputError):
    """An entry that cannot be used.

    Parameters
    ----------
    parts : tuple of str
        The message before the row, between row and column, and after the column.
    row, col : int or str
        Ids, or positions where there are no ids.
    """

    def __init__(self, parts: tuple[str, str, str], row: Any, col: Any) -> None:
        super().__init__(parts, row, col)
        self.parts, self.row, self.col = parts, row, col

    def __str__(self) -> str:
        before, between, after = self.parts
        return f"{before}{self.row!r}{between}{self.col!r}{after}"


def check_limit(shape: tuple[int, ...]) -> None:
    """Raise unless positions of rows and columns fit 32 bits."""
    if max(shape) > _LIMIT:
        raise InvalidInputError(
            f"the matrix has shape {shape}: at most 2^31 - 1 rows and columns are possible"
        )


def is_ascending(indptr: NDArray[Any], indices: NDArray[Any]) -> bool:
    """Tell whether the column indices of each row ascend, without repeated ones."""
    ascends = indices[1:] > indices[:-1]
    if ascends.all():
        return True
    starts = indptr[1:-1]  # of the second row and those after it
    ascends[starts[(starts > 0) & (starts < indices.size)] - 1] = True
    return bool(ascends.all())


def with_data(matrix: sparse.csr_array, data: NDArray[Any]) -> sparse.csr_array:
    """Return a CSR array with the entries of another one, which it shares, and other numbers."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def pair_at(
    indptr: NDArray[Any], indices: NDArray[Any], row_ids: Ids, col_ids: Ids
) -> Callable[[int], tuple[Any, Any]]:
    """Return a function that gives the row id and the column id of an entry of a CSR matrix."""

    def pair(entry: int) -> tuple[Any, Any]:
        row = np.searchsorted(indptr, entry, side="right") - 1
        return row_ids.item(row), col_ids.item(indices[entry])

    return pair


def build_csr(
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    numbers: Mapping[str, NDArray[Any]],
    row_ids: Ids,
    col_ids: Ids,
    duplicates: Duplicates,
) -> tuple[sparse.csr_array, dict[str, NDArray[Any]]]:
    """Build the matrix of pairs, with one entry for each pair and ascending columns in each row.

    Parameters
    ----------
    rows, cols : ndarray of int, shape (n,)
        Positions of each given pair.
    numbers : mapping of str to ndarray, each of shape (n,)
        ``"value"``, ``"weight"`` and ``"time"`` of each pair, or some of them.
    row_ids, col_ids : ndarray
        Ids, for the shape and for messages.
    duplicates : {"keep-one", "count", "error"}
        What a pair that occurs several times becomes: see `Pairings.from_arrays`.

    Returns
    -------
    csr_array
        The values, or ones (or counts) in float32.
    dict of str to ndarray
        ``weights`` and ``times`` in the order of its entries, if they were given.
    """
    shape = (row_ids.size, col_ids.size)
    check_limit(shape)
    n = rows.size
    entries = np.arange(n) if numbers else np.ones(n, np.float32)
    matrix = sparse.coo_array((entries, (rows, cols)), shape=shape).tocsr()  # adds up, and sorts
    if matrix.nnz == n:
        merged = {kind: array[matrix.data] for kind, array in numbers.items()}
    elif numbers:
        matrix, merged = _merged(rows, cols, numbers, (row_ids, col_ids), duplicates)
    else:
        merged = {}
        if duplicates == "error":
            pair = pair_at(matrix.indptr, matrix.indices, row_ids, col_ids)
            _refuse(pair(int(np.argmax(matrix.data > 1))), "", duplicates)
        if duplicates == "keep-one":
            matrix.data[:] = 1.0
    if numbers:
        values = merged.pop("value", None)
        if values is None:
            values = np.ones(matrix.nnz, np.float32)
        matrix = with_data(matrix, values)
    return matrix, {f"{kind}s": array for kind, array in merged.items()}


def _merged(
    rows: NDArray[Any],
    cols: NDArray[Any],
    numbers: Mapping[str, NDArray[Any]],
    ids: tuple[Ids, Ids],
    duplicates: Duplicates,
) -> tuple[sparse.csr_array, dict[str, NDArray[Any]]]:
    """Return the matrix of distinct pairs, and one number of each kind for each pair."""
    shape = (ids[0].size, ids[1].size)
    group = rows.astype(np.int64) * shape[1] + cols  # below 2^62
    order = np.argsort(group, kind="stable")
    group = group[order]
    is_first = np.concatenate([[True], group[1:] != group[:-1]])
    first = np.flatnonzero(is_first)
    lengths = np.diff(first, append=rows.size)
    rows, cols = rows[order[first]], cols[order[first]]

    def refuse(clash: NDArray[np.bool_], kind: str) -> None:
        if clash.any():
            pair = int(np.argmax(clash))
            _refuse((ids[0].item(rows[pair]), ids[1].item(cols[pair])), kind, duplicates)

    if duplicates == "error":
        refuse(lengths > 1, "")
    merged = {}
    for kind, array in numbers.items():
        # In ascending order: sums do not depend on the order in which pairs are given.
        ascending = array[np.lexsort((array, np.cumsum(is_first)[np.argsort(order)]))]
        if kind == "time":
            merged[kind] = ascending[first + lengths - 1]  # the latest
        elif duplicates == "count":
            with np.errstate(over="ignore", invalid="ignore"):
                merged[kind] = np.add.reduceat(ascending, first)
            refuse(~np.isfinite(merged[kind]), f"{kind}s")
        else:
            merged[kind] = ascending[first]
            refuse(merged[kind] != ascending[first + lengths - 1], f"{kind}s")
    if duplicates == "count" and "value" not in merged:
        merged["value"] = lengths.astype(np.float32)
    return sparse.coo_array((np.ones(first.size), (rows, cols)), shape=shape).tocsr(), merged


def _refuse(pair: tuple[Any, Any], what: str, duplicates: Duplicates) -> None:
    reason, way_out = {
        "error": ("occurs more than once", 'use duplicates="keep-one" or "count" to allow it'),
        "keep-one": (f"occurs with different {what}", 'use duplicates="count" to add them up'),
        "count": (f"has {what} whose sum is beyond float64", "scale them down"),
    }[duplicates]
    raise EntryError(("the pair of row ", " and column ", f" {reason}: {way_out}"), *pair)


def as_csr(
    matrix: Any, weights: Any = None, name: str = "matrix"
) -> tuple[sparse.csr_array, NDArray[np.float64] | None]:
    """Return a CSR array of any scipy sparse matrix, entry by entry, in float32 or float64.

    Repeated entries stay repeated and stored zeros stay stored. Where nothing has to change, the
    arrays are shared with the caller's matrix, so they must not be written to.

    Parameters
    ----------
    matrix : sparse matrix or array
        Of real numbers, not in BSR format.
    weights : array_like or sparse matrix, optional
        A number for each entry: in the order of ``matrix.data`` of a CSR matrix, or as a matrix
        with the same stored entries.
    name : str
        Of the matrix, for messages.

    Returns
    -------
    csr_array
    ndarray of float64 or None
        The weights in the order of its entries.

    Raises
    ------
    InvalidInputError
        If the matrix is dense, in BSR format, not 2-d, not of real numbers, or has an index outside
        its shape; or the weights do not fit.
    """
    if not sparse.issparse(matrix):
        raise InvalidInputError(
            f"{name} is a {type(matrix).__name__}: give a scipy sparse matrix, for instance "
            "scipy.sparse.csr_array(...)"
        )
    csr = _as_csr(matrix, name)
    if weights is None:
        return csr, None
    if sparse.issparse(weights):
        return csr, _weights_beside(csr, _as_csr(weights, "weights"))
    if matrix.format != "csr":
        raise InvalidInputError(
            f"weights is an array, but the matrix is in {matrix.format.upper()} format, whose "
            "entries have another order than those of CSR: give the weights as a sparse matrix "
            "too, or the matrix in CSR format"
        )
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"weights must be numbers, one for each entry: {error}") from error
    if array.shape != (csr.nnz,):
        raise InvalidInputError(
            f"weights has shape {array.shape}, but the matrix has {csr.nnz} stored entries: give "
            "one weight for each"
        )
    return csr, array


def _weights_beside(csr: sparse.csr_array, beside: sparse.csr_array) -> NDArray[np.float64]:
    """Return the data of a matrix with the same stored entries, in the order of these."""
    data: NDArray[np.float64] = beside.data.astype(np.float64, copy=False)
    same = beside.shape == csr.shape and np.array_equal(beside.indptr, csr.indptr)
    if same and not np.array_equal(beside.indices, csr.indices):
        rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
        theirs, ours = (np.lexsort((each.indices, rows)) for each in (beside, csr))
        same = np.array_equal(beside.indices[theirs], csr.indices[ours])
        order = np.empty_like(ours)
        order[ours] = theirs
        data = data[order]
    if not same:
        raise InvalidInputError(
            f"weights has shape {beside.shape} and {beside.nnz} entries, the matrix has shape "
            f"{csr.shape} and {csr.nnz}: both must have the same stored entries"
        )
    return data


def _as_csr(matrix: Any, name: str) -> sparse.csr_array:
    if matrix.format == "bsr":
        raise InvalidInputError(
            f"{name} is in BSR format, whose blocks store zeros that are no entries: convert it "
            "by tocsr() and call eliminate_zeros()"
        )
    if matrix.ndim != 2:
        raise InvalidInputError(f"{name} has {matrix.ndim} dimensions: it must have 2")
    kind, size = matrix.dtype.kind, matrix.dtype.itemsize
    if kind not in "biuf":
        raise InvalidInputError(f"{name} has dtype {matrix.dtype}: it must hold real numbers")
    exact_in_32_bits = kind == "b" or size <= 2 or (kind == "f" and size == 4)
    dtype = np.float32 if exact_in_32_bits else np.float64
    if matrix.format in ("csr", "csc"):
        _check_index(matrix, name)
        csr = sparse.csr_array(matrix.tocsr())
        if csr.dtype == dtype:
            return csr
        return with_data(csr, csr.data.astype(dtype))
    coo = matrix.tocoo()  # its own tocsr adds repeated entries up
    for axis, positions in (("row", coo.row), ("column", coo.col)):
        _check_range(positions, coo.shape[axis == "column"], axis, name)
    order = np.argsort(coo.row, kind="stable")
    indptr = np.zeros(coo.shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(coo.row, minlength=coo.shape[0]), out=indptr[1:])
    return sparse.csr_array(
        (coo.data[order].astype(dtype), coo.col[order], indptr), shape=coo.shape
    )


def _check_index(matrix: Any, name: str) -> None:
    """Raise if a CSR or CSC matrix made by hand points outside itself: kernels do not check."""
    ends = matrix.indptr
    if ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] > matrix.indices.size:
        raise InvalidInputError(
            f"{name} has an index pointer that does not ascend from 0 to its number of entries: "
            "build it with scipy.sparse.coo_array((values, (rows, cols)))"
        )
    inner, axis = (1, "column") if matrix.format == "csr" else (0, "row")
    _check_range(matrix.indices[: ends[-1]], matrix.shape[inner], axis, name)


def _check_range(positions: NDArray[Any], size: int, axis: str, name: str) -> None:
    if positions.size and not (positions.min() >= 0 and positions.max() < size):
        entry = int(np.flatnonzero((positions < 0) | (positions >= size))[0])
        raise InvalidInputError(
            f"entry {entry} of {name} is in {axis} {positions[entry]}, but there are only {size} "
            f"{axis}s, counted from 0"
        )
