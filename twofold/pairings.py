"""`Pairings`: a sparse matrix that knows the names of its rows and columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.exceptions import InvalidInputError, UnknownIdError

__all__ = ["Duplicates", "Pairings"]

Duplicates = Literal["keep-one", "count", "error"]
Ids = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pairings:
    """Stored (row, column) pairs with the ids of their rows and columns.

    In `twofold.io` a row is a playlist and a column is a track. Inside the matrix both are counted
    from 0 without gaps; the ids can be any 64-bit integers or strings.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n_rows, n_cols)
        The stored pairs. Any scipy sparse matrix or array is accepted and converted.
    row_ids : array_like, shape (n_rows,)
        The id of each row, unique. Integers become int64, strings an object array of `str`.
    col_ids : array_like, shape (n_cols,)
        The id of each column, unique.
    n_dropped_pairs : int, default 0
        How many pairs `align` left out because their column is unknown.
    n_dropped_cols : int, default 0
        How many different columns these pairs had.

    Raises
    ------
    InvalidInputError
        If the ids are not unique, neither integers nor strings, or do not fit the matrix.

    Examples
    --------
    >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
    >>> pairings.shape
    (2, 2)
    >>> pairings.matrix.toarray()
    array([[1., 1.],
           [1., 0.]], dtype=float32)
    """

    matrix: sparse.csr_array
    row_ids: Ids
    col_ids: Ids
    n_dropped_pairs: int = field(default=0, kw_only=True)
    n_dropped_cols: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        matrix = sparse.csr_array(self.matrix)
        object.__setattr__(self, "matrix", matrix)
        for axis, name in enumerate(("row", "col")):
            ids = as_ids(getattr(self, f"{name}_ids"), f"{name}_ids")
            if ids.size != matrix.shape[axis]:
                raise InvalidInputError(
                    f"{name}_ids has {ids.size} ids, but the matrix has {matrix.shape[axis]} "
                    f"{name}s: give one id for each {name}"
                )
            _check_unique(ids, f"{name}_ids")
            object.__setattr__(self, f"{name}_ids", ids)

    @classmethod
    def from_arrays(
        cls,
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike | None = None,
        *,
        duplicates: Duplicates = "keep-one",
    ) -> Self:
        """Build pairings from parallel arrays of ids, one entry for each pair.

        Parameters
        ----------
        rows, cols : array_like, shape (n_pairs,)
            The row id and the column id of each pair: integers or strings.
        values : array_like, shape (n_pairs,), optional
            A finite number for each pair. Without it every stored value is 1.
        duplicates : {"keep-one", "count", "error"}, default "keep-one"
            What a pair that occurs several times becomes: one entry (with equal values, otherwise
            an error); one entry that counts the occurrences, or adds up their values; or an error.

        Returns
        -------
        Pairings
            With ids in ascending order and sorted column indices in each row. Values are float32
            without `values` and float64 with them.

        Raises
        ------
        InvalidInputError
            If the arrays differ in length, an id is neither an integer nor a string, a value is
            not finite, or a duplicate is not allowed.
        """
        if duplicates not in ("keep-one", "count", "error"):
            raise InvalidInputError(
                f'duplicates={duplicates!r} is not one of "keep-one", "count", "error"'
            )
        row_ids, row_index = _encode(as_ids(rows, "rows"))
        col_ids, col_index = _encode(as_ids(cols, "cols"))
        if row_index.size != col_index.size:
            raise InvalidInputError(
                f"rows has {row_index.size} entries but cols has {col_index.size}: "
                "they must be parallel arrays, one entry for each pair"
            )
        if values is None:
            data = np.ones(row_index.size, dtype=np.float32)
        else:
            data = np.asarray(values, dtype=np.float64)
            if data.shape != row_index.shape:
                raise InvalidInputError(
                    f"values has shape {data.shape}, but there are {row_index.size} pairs"
                )
            if not np.isfinite(data).all():
                bad = int(np.flatnonzero(~np.isfinite(data))[0])
                raise InvalidInputError(
                    f"the value of row {row_ids[row_index[bad]]!r}, "
                    f"column {col_ids[col_index[bad]]!r} is {data[bad]}: values must be finite"
                )
        key = row_index * np.int64(max(col_ids.size, 1)) + col_index
        order = np.argsort(key, kind="stable")
        key, data = key[order], data[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        if first.size < key.size:
            data = _merge(data, first, duplicates, values is not None, key, row_ids, col_ids)
        row_index, col_index = row_index[order][first], col_index[order][first]
        indptr = np.zeros(row_ids.size + 1, dtype=np.int64)
        np.cumsum(np.bincount(row_index, minlength=row_ids.size), out=indptr[1:])
        shape = (row_ids.size, col_ids.size)
        return cls(sparse.csr_array((data, col_index, indptr), shape=shape), row_ids, col_ids)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of columns."""
        return (self.row_ids.size, self.col_ids.size)

    @property
    def n_pairs(self) -> int:
        """Number of stored pairs."""
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        return f"<Pairings: {self.shape[0]} rows x {self.shape[1]} columns, {self.n_pairs} pairs>"

    def row_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given row ids.

        Parameters
        ----------
        ids : array_like, shape (n,)
            Row ids.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If an id is not in `row_ids`.
        """
        return index_of(ids, self.row_ids, "row")

    def col_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given column ids.

        Parameters
        ----------
        ids : array_like, shape (n,)
            Column ids.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If an id is not in `col_ids`.
        """
        return index_of(ids, self.col_ids, "column")

    def take_rows(self, positions: ArrayLike) -> Self:
        """Return the rows at the given positions, in that order, with all columns.

        Parameters
        ----------
        positions : array_like of int, shape (n,)
            Positions from 0 to n_rows - 1 (not ids: see `row_index`).

        Returns
        -------
        Pairings
        """
        taken = np.asarray(positions, dtype=np.int64)
        return type(self)(self.matrix[taken], self.row_ids[taken], self.col_ids)

    def align(self, col_ids: ArrayLike, *, unknown: Literal["drop", "error"] = "drop") -> Self:
        """Re-index the columns to another vocabulary, for instance that of a trained model.

        Parameters
        ----------
        col_ids : array_like, shape (n,)
            The columns of the result, in this order.
        unknown : {"drop", "error"}, default "drop"
            What to do with pairs whose column is not in `col_ids`: leave them out, and say how
            many in `n_dropped_pairs` and `n_dropped_cols`; or raise.

        Returns
        -------
        Pairings
            With the same rows, also those that are empty now, and `n` columns.

        Raises
        ------
        UnknownIdError
            If `unknown="error"` and a stored pair has a column that is not in `col_ids`.
        """
        if unknown not in ("drop", "error"):
            raise InvalidInputError(f'unknown={unknown!r} is not one of "drop", "error"')
        target_ids = as_ids(col_ids, "col_ids")
        positions = find(self.col_ids, target_ids)
        entry_cols = positions[self.matrix.indices]
        known = entry_cols >= 0
        n_dropped = int(known.size - np.count_nonzero(known))
        lost = np.unique(self.matrix.indices[~known])
        if n_dropped and unknown == "error":
            raise UnknownIdError(
                f"{lost.size} columns are not in the vocabulary, the first is "
                f'{self.col_ids[lost[0]]!r}: use unknown="drop" to leave their pairs out'
            )
        kept = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])
        matrix = sparse.csr_array(
            (self.matrix.data[known], entry_cols[known], kept[self.matrix.indptr]),
            shape=(self.row_ids.size, target_ids.size),
        )
        matrix.sort_indices()
        return type(self)(
            matrix, self.row_ids, target_ids, n_dropped_pairs=n_dropped, n_dropped_cols=lost.size
        )


def to_csr(matrix: Any, name: str = "matrix") -> sparse.csr_array:
    """Return a CSR array of any scipy sparse matrix, entry by entry, in float32 or float64.

    Repeated entries stay repeated and stored zeros stay stored. Where nothing has to change, the
    arrays are shared with the caller's matrix, so they must not be written to.

    Raises
    ------
    InvalidInputError
        If the matrix is dense, not 2-d, or not of real numbers.
    """
    if not sparse.issparse(matrix):
        raise InvalidInputError(
            f"{name} is a {type(matrix).__name__}: give a scipy sparse matrix, for instance "
            "scipy.sparse.csr_array(...)"
        )
    if matrix.ndim != 2:
        raise InvalidInputError(f"{name} has {matrix.ndim} dimensions: it must have 2")
    kind, size = matrix.dtype.kind, matrix.dtype.itemsize
    if kind not in "biuf":
        raise InvalidInputError(f"{name} has dtype {matrix.dtype}: it must hold real numbers")
    exact_in_32_bits = kind == "b" or size <= 2 or (kind == "f" and size == 4)
    dtype = np.float32 if exact_in_32_bits else np.float64
    if matrix.format == "coo":  # its own tocsr adds repeated entries up
        order = np.argsort(matrix.row, kind="stable")
        indptr = np.zeros(matrix.shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(matrix.row, minlength=matrix.shape[0]), out=indptr[1:])
        arrays = (matrix.data[order].astype(dtype), matrix.col[order], indptr)
        return sparse.csr_array(arrays, shape=matrix.shape)
    csr = sparse.csr_array(matrix) if matrix.format == "csr" else sparse.csr_array(matrix.tocsr())
    if csr.dtype != dtype:
        csr = sparse.csr_array((csr.data.astype(dtype), csr.indices, csr.indptr), shape=csr.shape)
    return csr


def as_ids(values: ArrayLike | Sequence[Any], name: str) -> Ids:
    """Return ids as int64 or as an object array of `str`, or say which one is neither."""
    array = np.asarray(values) if not isinstance(values, np.ndarray) else values
    if array.ndim != 1:
        raise InvalidInputError(f"{name} has {array.ndim} dimensions: ids must be a flat sequence")
    if array.dtype.kind == "i" or array.size == 0:
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "u":
        if array.max() > np.iinfo(np.int64).max:
            raise InvalidInputError(f"{name} holds {array.max()}, which is beyond 64-bit integers")
        return array.astype(np.int64)
    # A list that mixes numbers and text becomes text in np.asarray: look at the values themselves.
    source = array if isinstance(values, np.ndarray) else values
    items = source.tolist() if isinstance(source, np.ndarray) else list(source)  # type: ignore[arg-type]
    if array.dtype.kind in "UTO" and all(isinstance(item, str) for item in items):
        texts = np.empty(len(items), dtype=object)
        texts[:] = [str(item) for item in items]
        return texts
    integers = (int, np.integer)
    if all(isinstance(item, integers) and not isinstance(item, bool) for item in items):
        limit = np.iinfo(np.int64)
        for position, item in enumerate(items):
            if not limit.min <= item <= limit.max:
                raise InvalidInputError(
                    f"{name}[{position}] is {item}, which is beyond 64-bit integers"
                )
        return np.array(items, dtype=np.int64)
    first_is_text = isinstance(items[0], str)
    for position, item in enumerate(items):
        is_text = isinstance(item, str)
        if not is_text and (not isinstance(item, integers) or isinstance(item, bool)):
            raise InvalidInputError(
                f"{name}[{position}] is {item!r}: ids must be whole numbers or strings"
            )
        if is_text != first_is_text:
            break
    raise InvalidInputError(
        f"{name}[{position}] is {item!r}, but {name}[0] is {items[0]!r}: "
        "ids must be all integers or all strings"
    )


def find(ids: Ids, vocabulary: Ids) -> NDArray[np.int64]:
    """Position of each id in the vocabulary, or -1 where it is not there."""
    if ids.size == 0 or vocabulary.size == 0 or ids.dtype != vocabulary.dtype:
        return np.full(ids.size, -1, dtype=np.int64)
    if ids.dtype == object:
        position = {text: index for index, text in enumerate(vocabulary.tolist())}
        return np.array([position.get(text, -1) for text in ids.tolist()], dtype=np.int64)
    order = np.argsort(vocabulary, kind="stable")
    slot = np.minimum(np.searchsorted(vocabulary, ids, sorter=order), vocabulary.size - 1)
    return np.where(vocabulary[order[slot]] == ids, order[slot], -1).astype(np.int64)


def index_of(ids: ArrayLike, vocabulary: Ids, name: str) -> NDArray[np.int64]:
    """Position of each id in the vocabulary, or an error that names the first unknown id."""
    wanted = as_ids(ids, f"{name} ids")
    positions = find(wanted, vocabulary)
    if (positions < 0).any():
        unknown = wanted[int(np.flatnonzero(positions < 0)[0])]
        kind = "strings" if vocabulary.dtype == object else "integers"
        raise UnknownIdError(
            f"{name} id {unknown!r} is unknown: it is not among the {vocabulary.size} {name} ids, "
            f"which are {kind}"
        )
    return positions


def _encode(ids: Ids) -> tuple[Ids, NDArray[np.int64]]:
    """Distinct ids in ascending order, and the position of each given id among them."""
    if ids.dtype == object:
        vocabulary = np.array(sorted(set(ids.tolist())), dtype=object)
        return vocabulary, find(ids, vocabulary)
    vocabulary, index = np.unique(ids, return_inverse=True)
    return vocabulary, index.astype(np.int64, copy=False)


def _check_unique(ids: Ids, name: str) -> None:
    if ids.dtype == object:
        if len(set(ids.tolist())) == ids.size:
            return
        values = np.array(sorted(ids.tolist()), dtype=object)
    else:
        values = np.sort(ids)
    repeated = values[1:][values[1:] == values[:-1]]
    if repeated.size:
        raise InvalidInputError(f"{name} holds {repeated[0]!r} more than once: ids must be unique")


def _merge(
    data: NDArray[Any],
    first: NDArray[np.int64],
    duplicates: Duplicates,
    has_values: bool,
    key: NDArray[np.int64],
    row_ids: Ids,
    col_ids: Ids,
) -> NDArray[Any]:
    """Bring sorted entries down to one for each pair; `first` holds where each pair starts."""
    if duplicates == "count":
        return np.asarray(np.add.reduceat(data.astype(np.float64), first), dtype=data.dtype)
    lengths = np.diff(first, append=key.size)
    if duplicates == "error":
        clash = first[lengths > 1]
        reason = 'use duplicates="keep-one" or "count" to allow it'
        what = "occurs more than once"
    else:
        differs = data != np.repeat(data[first], lengths)
        clash = np.flatnonzero(differs) if has_values else first[:0]
        reason = 'use duplicates="count" to add them up'
        what = "occurs with different values"
    if clash.size:
        row, col = divmod(int(key[clash[0]]), col_ids.size)
        raise InvalidInputError(
            f"the pair of row {row_ids[row]!r} and column {col_ids[col]!r} {what}: {reason}"
        )
    return data[first]
