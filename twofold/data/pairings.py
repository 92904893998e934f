"""`Pairings`: a sparse matrix that knows the names of its rows and columns."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.cached import cached_property
from twofold._common.checks import check_choice, check_names
from twofold.data.archive import damage_explained
from twofold.data.csr import Duplicates, build_csr, check_weights, encode, is_ascending, pair_at
from twofold.data.frames import read_frame
from twofold.data.mapped import read_mapped, write_mapped
from twofold.data.report import ReadReport, reported
from twofold.data.vocabulary import Ids, Vocabulary, as_ids, check_unique, index_of
from twofold.exceptions import InvalidInputError, UnknownIdError

__all__ = ["Duplicates", "Pairings"]


_KIND, _VERSION = "pairings", 1  # of cache files


@dataclass(frozen=True, eq=False)
class Pairings:
    """Stored (row, column) pairs with the ids of their rows and columns.

    In `twofold.io` a row is a playlist and a column is a track. Inside the matrix both are counted
    from 0 without gaps; the ids can be any 64-bit integers or strings.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n_rows, n_cols)
        The stored pairs. Any scipy sparse matrix or array of real numbers is accepted and becomes
        CSR in float32 or float64, entry by entry. It may share memory with what was given.
    row_ids : array_like, shape (n_rows,)
        The id of each row, unique. Integers become int64, strings an object array of `str`.
    col_ids : array_like, shape (n_cols,)
        The id of each column, unique.
    weights : array_like, shape (n_pairs,), or sparse matrix, optional
        A finite weight >= 0 for each pair, beside its value: a confidence, or 0 to leave the pair
        out. An array has the order of ``matrix.data``, so the matrix must be CSR; a scipy sparse
        matrix or array has the stored entries of the matrix. They become an array of float64 in
        the order of the CSR matrix. By default there are none.
    n_dropped_pairs : int, default 0
        How many pairs `align` left out on the way here, because their column is unknown.
    n_dropped_cols : int, default 0
        How many different columns these pairs had.
    n_null_dropped : int, default 0
        How many pairs a reader left out because an id is NULL.
    report : ReadReport, optional
        What was read, if these pairings come from SQL, a frame, CSV, Parquet or slices.

    Raises
    ------
    InvalidInputError
        If the matrix is dense or not of real numbers; the ids are not unique, neither integers nor
        strings, or do not fit the matrix; or a weight is not finite, below 0, or the weights do not
        fit the matrix.

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
    weights: NDArray[np.float64] | None = field(default=None, kw_only=True, repr=False)
    n_dropped_pairs: int = field(default=0, kw_only=True)
    n_dropped_cols: int = field(default=0, kw_only=True)
    n_null_dropped: int = field(default=0, kw_only=True)
    report: ReadReport | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        format_given = getattr(self.matrix, "format", "")
        matrix = to_csr(self.matrix)
        object.__setattr__(self, "matrix", matrix)
        for axis, name in enumerate(("row", "col")):
            ids = as_ids(getattr(self, f"{name}_ids"), f"{name}_ids")
            if ids.size != matrix.shape[axis]:
                raise InvalidInputError(
                    f"{name}_ids has {ids.size} ids, but the matrix has {matrix.shape[axis]} "
                    f"{name}s: give one id for each {name}"
                )
            check_unique(ids, f"{name}_ids")
            object.__setattr__(self, f"{name}_ids", ids)
        if self.weights is not None:
            weights = _entry_weights(self.weights, matrix, format_given)
            pair = pair_at(matrix.indptr, matrix.indices, self.row_ids, self.col_ids)
            check_weights(weights, pair)
            object.__setattr__(self, "weights", weights)

    @staticmethod
    def from_arrays(
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        duplicates: Duplicates = "keep-one",
    ) -> "Pairings":
        """Build pairings from parallel arrays of ids, one entry for each pair.

        Parameters
        ----------
        rows, cols : array_like, shape (n_pairs,)
            The row id and the column id of each pair: integers or strings.
        values : array_like, shape (n_pairs,), optional
            A finite number for each pair. Without it every stored value is 1.
        weights : array_like, shape (n_pairs,), optional
            A finite weight >= 0 for each pair, beside its value.
        duplicates : {"keep-one", "count", "error"}, default "keep-one"
            What a pair that occurs several times becomes: one entry (with equal values and equal
            weights, otherwise an error); one entry that counts the occurrences, or adds up their
            values, and adds up their weights; or an error.

        Returns
        -------
        Pairings
            With ids in ascending order and sorted column indices in each row. Values are float32
            without `values` and float64 with them.

        Raises
        ------
        InvalidInputError
            If the arrays differ in length, an id is neither an integer nor a string, a value or
            weight is not a finite number, a weight is below 0, or a duplicate is not allowed.
        """
        check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
        row_ids, row_index = encode(as_ids(rows, "rows"))
        col_ids, col_index = encode(as_ids(cols, "cols"))
        if row_index.size != col_index.size:
            raise InvalidInputError(
                f"rows has {row_index.size} entries but cols has {col_index.size}: "
                "they must be parallel arrays, one entry for each pair"
            )
        data = None if values is None else _numbers(values, row_index.size, "values")
        if data is not None:
            bad = np.flatnonzero(~np.isfinite(data))
            if bad.size:
                raise InvalidInputError(
                    f"the value of row {row_ids.item(row_index[bad[0]])!r}, "
                    f"column {col_ids.item(col_index[bad[0]])!r} is {data[bad[0]]}: "
                    "values must be finite"
                )
        if weights is not None:
            weights = _numbers(weights, row_index.size, "weights")
        matrix, merged = build_csr(
            row_index, col_index, data, row_ids, col_ids, duplicates, weights
        )
        return Pairings(matrix, row_ids, col_ids, weights=merged)

    @staticmethod
    def from_frame(
        frame: Any,
        row: str = "pid",
        col: str = "tid",
        value: str | None = None,
        *,
        weight: str | None = None,
        duplicates: Duplicates = "keep-one",
        on_null: Literal["error", "drop"] = "error",
    ) -> "Pairings":
        """Build pairings from a data frame, one line for each pair; needs ``twofold[frames]``.

        Parameters
        ----------
        frame : DataFrame or Table
            Of pandas (2.2 or newer), polars, pyarrow or any other library whose frames have
            ``__arrow_c_stream__``.
        row : str, default "pid"
            The column of row ids: integers or text, also as categories. Whole numbers in a column
            of floats or decimals count as integers, as pandas makes floats of integers where some
            are missing.
        col : str, default "tid"
            The column of column ids, likewise.
        value : str, optional
            The column with a finite number for each pair. Without it every stored value is 1.
        weight : str, optional
            The column with a finite weight >= 0 for each pair, beside its value.
        duplicates : {"keep-one", "count", "error"}, default "keep-one"
            What a pair that occurs several times becomes; see `from_arrays`.
        on_null : {"error", "drop"}, default "error"
            What to do with a pair whose row or column id is NULL, None or NaN: raise; or leave it
            out, and say how many in `n_null_dropped`.

        Returns
        -------
        Pairings
            As of `from_arrays`.

        Raises
        ------
        InvalidInputError
            If pyarrow is missing, the frame is of another kind or lacks a column, or an id, value,
            weight or duplicate is not allowed; the message names the column or the pair.

        Examples
        --------
        >>> import polars
        >>> frame = polars.DataFrame({"pid": [1, 1, 2], "tid": ["a", "b", "a"]})
        >>> Pairings.from_frame(frame)
        <Pairings: 2 rows x 2 columns, 3 pairs>
        """
        check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
        check_choice(on_null, "on_null", ("error", "drop"))
        check_names({"row": row, "col": col}, {"value": value, "weight": weight})
        names = [name for name in (row, col, value, weight) if name is not None]
        started = time.perf_counter()
        ids, numbers, n_null = read_frame(frame, names, drop_nulls=on_null == "drop")
        values = None if value is None else numbers[0]
        weights = None if weight is None else numbers[-1]
        (row_ids, rows), (col_ids, cols) = map(encode, ids)
        matrix, weights = build_csr(rows, cols, values, row_ids, col_ids, duplicates, weights)
        pairings = Pairings(matrix, row_ids, col_ids, weights=weights, n_null_dropped=n_null)
        return reported(pairings, "arrow", rows.size + n_null, started)

    @staticmethod
    def open(
        path: str | os.PathLike[str], mmap: bool = True, *, verify: bool = False
    ) -> "Pairings":
        """Open a cache that `save` wrote, in milliseconds.

        Mapped arrays stay in the file until something reads them, are shared by all processes that
        open it, and can be dropped by the system when memory is short. They are copy-on-write:
        writing to them changes neither the file nor what others see.

        That every index is inside the matrix and that the ids are unique is checked in any case,
        as solvers rely on it, so the column indices are read through once (0.03 s for 63 million
        pairs, or as long as the disk takes). Weights are checked and read through likewise. Text
        ids are read into memory, and with 2^31 pairs or more scipy copies the column indices, as
        it wants them in 64 bits then. Another process must not write into the file while it is
        mapped; `save` never does, it replaces files.

        Parameters
        ----------
        path : str or path-like
            The file.
        mmap : bool, default True
            Map the arrays instead of reading them. With False everything is read and verified.
        verify : bool, default False
            Compare the checksum of every array, which reads the whole file. Without it, and with
            ``mmap``, damage to ids, values or indices that leaves them valid goes unnoticed;
            damage to the header, a file that is cut short and any other index do not.

        Returns
        -------
        Pairings

        Raises
        ------
        FileFormatError
            If the file is truncated, damaged, of another kind, or of a newer version.
        InvalidInputError
            If the file cannot be opened.
        """
        parts = read_mapped(path, _KIND, _VERSION, mapped=mmap, verify=verify or not mmap)
        with damage_explained(path):
            return from_parts(*parts)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of columns."""
        return (self.row_ids.size, self.col_ids.size)

    @property
    def n_pairs(self) -> int:
        """Number of stored pairs."""
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.shape[0]} rows x {self.shape[1]} columns, "
            f"{self.n_pairs} pairs>"
        )

    @cached_property
    def _rows(self) -> Vocabulary:
        return Vocabulary(self.row_ids)

    @cached_property
    def _cols(self) -> Vocabulary:
        return Vocabulary(self.col_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the indexes out of pickles: they are built again."""
        kept = {field.name for field in fields(self)}
        return {name: value for name, value in self.__dict__.items() if name in kept}

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
        return index_of(ids, self._rows, "row")

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
        return index_of(ids, self._cols, "column")

    def take_rows(self, positions: ArrayLike) -> "Pairings":
        """Return the rows at the given positions, in that order, with all columns.

        Parameters
        ----------
        positions : array_like of int, shape (n,)
            Positions from 0 to n_rows - 1 (not ids: see `row_index`), each at most once.

        Returns
        -------
        Pairings

        Raises
        ------
        InvalidInputError
            If a position is not a whole number, out of range, or repeated.
        """
        taken = np.asarray(positions)
        if taken.ndim != 1 or (taken.size and taken.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"positions is an array of {taken.dtype} with {taken.ndim} dimensions: give a flat "
                "sequence of whole numbers, for instance numpy.flatnonzero(mask)"
            )
        taken = taken.astype(np.int64, copy=False)
        outside = taken[(taken < 0) | (taken >= self.row_ids.size)]
        if outside.size:
            raise InvalidInputError(
                f"position {outside[0]} is not one of the {self.row_ids.size} rows, which are "
                "counted from 0: for ids, see row_index"
            )
        weights = None
        if self.weights is not None:
            weights = with_data(self.matrix, self.weights)[taken].data
        return Pairings(self.matrix[taken], self.row_ids[taken], self.col_ids, weights=weights)

    def align(
        self, col_ids: "ArrayLike | Pairings", *, unknown: Literal["drop", "error"] = "drop"
    ) -> "Pairings":
        """Re-index the columns to another vocabulary, for instance that of a trained model.

        Parameters
        ----------
        col_ids : array_like, shape (n,), or Pairings
            The columns of the result, in this order. Those of other pairings are looked up in an
            index that they keep.
        unknown : {"drop", "error"}, default "drop"
            What to do with pairs whose column is not in `col_ids`: leave them out, and say how
            many in `n_dropped_pairs` and `n_dropped_cols`; or raise.

        Returns
        -------
        Pairings
            With the same rows, also those that are empty now, and `n` columns.

        Raises
        ------
        InvalidInputError
            If `col_ids` repeats an id, or `unknown` is neither of the two.
        UnknownIdError
            If `unknown="error"` and a stored pair has a column that is not in `col_ids`.
        """
        check_choice(unknown, "unknown", ("drop", "error"))
        entries = aligned_entries(self, col_ids)
        if entries.lost.size and unknown == "error":
            raise UnknownIdError(
                f"{entries.lost.size} columns are not in the vocabulary, the first is "
                f'{self.col_ids.item(entries.lost[0])!r}: use unknown="drop" to leave their pairs '
                "out"
            )
        return Pairings(
            entries.matrix,
            self.row_ids,
            entries.col_ids,
            weights=entries.weights,
            n_dropped_pairs=self.n_pairs - entries.indices.size,
            n_dropped_cols=entries.lost.size,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a cache that `open` maps into memory, atomically and without pickle.

        It takes 8 bytes for each pair with float32 values, 12 with float64, and 8 more with
        weights. Values are stored even where all of them are 1: as they are mapped too, they cost
        neither time nor memory. Names of tracks and playlists are not part of it. Only a process
        that is killed while it writes leaves something behind: a hidden file
        ``.<name>.<letters>.tmp``.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the ending ``.pairings``; none is added. One that exists is
            replaced, and stays as it is if writing fails.

        Raises
        ------
        InvalidInputError
            If the file cannot be written, or the matrix has more than 2^31 - 1 columns.

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.save("week.pairings")  # doctest: +SKIP
        >>> Pairings.open("week.pairings")  # doctest: +SKIP
        <Pairings: 2 rows x 2 columns, 3 pairs>
        """
        if self.shape[1] > np.iinfo(np.int32).max:
            raise InvalidInputError(
                f"the matrix has {self.shape[1]} columns: a cache can have at most 2^31 - 1"
            )
        arrays, meta = parts_of(self)
        arrays["indptr"] = arrays["indptr"].astype(np.int64, copy=False)
        arrays["indices"] = arrays["indices"].astype(np.int32, copy=False)
        write_mapped(path, _KIND, _VERSION, arrays, meta)


def check_pairings(pairings: Any) -> None:
    """Raise unless this is what a function that writes pairings needs."""
    if not isinstance(pairings, Pairings):
        raise InvalidInputError(
            f"pairings is a {type(pairings).__name__}: make Pairings of it, by "
            "Pairings.from_arrays(row_ids, col_ids)"
        )


def parts_of(pairings: Pairings) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Return what files keep of pairings: arrays, and numbers by name."""
    matrix = pairings.matrix
    arrays = {
        "data": matrix.data[: matrix.nnz],
        "indices": matrix.indices[: matrix.nnz],
        "indptr": matrix.indptr,
        "row_ids": pairings.row_ids,
        "col_ids": pairings.col_ids,
    }
    if pairings.weights is not None:
        arrays["weights"] = pairings.weights
    names = ("n_dropped_pairs", "n_dropped_cols", "n_null_dropped")
    return arrays, {name: int(getattr(pairings, name)) for name in names}


def from_parts(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, int]) -> Pairings:
    """Undo `parts_of`; an exception of any kind means that the file is damaged."""
    row_ids, col_ids = arrays["row_ids"], arrays["col_ids"]
    indices, indptr = arrays["indices"], arrays["indptr"]
    narrow = np.iinfo(np.int32)
    if indices.dtype == narrow.dtype and indptr.min() >= 0 and indptr.max() <= narrow.max:
        indptr = indptr.astype(narrow.dtype)  # otherwise scipy would copy the indices to int64
    parts: tuple[Any, ...] = (arrays["data"], indices, indptr)
    matrix = sparse.csr_array(parts, shape=(row_ids.size, col_ids.size))
    counts: dict[str, Any] = {name: int(count) for name, count in meta.items()}
    return Pairings(matrix, row_ids, col_ids, weights=arrays.get("weights"), **counts)


@dataclass(frozen=True, eq=False)
class AlignedEntries:
    """The arrays of `Pairings.align`, sorted by column in each row."""

    col_ids: Ids
    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[Any]
    weights: NDArray[np.float64] | None
    lost: NDArray[np.integer]
    """Columns of the pairings, in ascending order, that are not among the others."""

    @property
    def matrix(self) -> sparse.csr_array:
        """The stored entries."""
        shape = (self.indptr.size - 1, self.col_ids.size)
        return sparse.csr_array((self.data, self.indices, self.indptr), shape=shape)


def aligned_entries(pairings: Pairings, col_ids: ArrayLike | Pairings) -> AlignedEntries:
    """Return the entries of pairings whose columns are among others, in the order of these."""
    if isinstance(col_ids, Pairings):
        columns = col_ids._cols
    else:
        columns = Vocabulary(as_ids(col_ids, "col_ids"))
    matrix, weights = pairings.matrix, pairings.weights
    indptr, data = matrix.indptr, matrix.data
    indices = columns.find(pairings.col_ids)[matrix.indices]
    lost = matrix.indices[:0]
    known = indices >= 0
    if not known.all():
        lost = np.unique(matrix.indices[~known])
        indptr = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])[indptr]
        indices, data = indices[known], data[known]
        weights = None if weights is None else weights[known]
    if not is_ascending(indptr, indices):
        places = np.arange(indices.size)
        order = sparse.csr_array(
            (places, indices, indptr), shape=(indptr.size - 1, columns.ids.size)
        )
        order.sort_indices()
        indices, data = order.indices, data[order.data]
        weights = None if weights is None else weights[order.data]
    return AlignedEntries(columns.ids, indptr, indices, data, weights, lost)


def with_data(matrix: sparse.csr_array, data: NDArray[Any]) -> sparse.csr_array:
    """Return a CSR array with the entries of another one, which it shares, and other numbers."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _numbers(values: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return float64, or raise unless there is a number for each of n pairs."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{name} must be finite numbers, one for each pair: {error}"
        ) from error
    if numbers.shape != (n,):
        raise InvalidInputError(f"{name} has shape {numbers.shape}, but there are {n} pairs")
    return numbers


def _entry_weights(
    weights: Any, matrix: sparse.csr_array, format_given: str
) -> NDArray[np.float64]:
    """Return weights in the order of the matrix, which was given in another format perhaps."""
    if not sparse.issparse(weights):
        if format_given != "csr":
            raise InvalidInputError(
                f"weights is an array, but the matrix is in {format_given.upper()} format, whose "
                "entries have another order than those of CSR: give the weights as a sparse matrix "
                "too, or the matrix in CSR format"
            )
        return _numbers(weights, matrix.nnz, "weights")
    beside = to_csr(weights, "weights")
    data: NDArray[np.float64] = beside.data.astype(np.float64, copy=False)
    same = beside.shape == matrix.shape and np.array_equal(beside.indptr, matrix.indptr)
    if same and not np.array_equal(beside.indices, matrix.indices):
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        theirs, ours = (np.lexsort((each.indices, rows)) for each in (beside, matrix))
        same = np.array_equal(beside.indices[theirs], matrix.indices[ours])
        order = np.empty_like(ours)
        order[ours] = theirs
        data = data[order]
    if not same:
        raise InvalidInputError(
            f"weights has shape {beside.shape} and {beside.nnz} entries, the matrix has shape "
            f"{matrix.shape} and {matrix.nnz}: both must have the same stored entries"
        )
    return data


def to_csr(matrix: Any, name: str = "matrix") -> sparse.csr_array:
    """Return a CSR array of any scipy sparse matrix, entry by entry, in float32 or float64.

    Repeated entries stay repeated and stored zeros stay stored. Where nothing has to change, the
    arrays are shared with the caller's matrix, so they must not be written to.

    Raises
    ------
    InvalidInputError
        If the matrix is dense, in BSR format, not 2-d, or not of real numbers.
    """
    if not sparse.issparse(matrix):
        raise InvalidInputError(
            f"{name} is a {type(matrix).__name__}: give a scipy sparse matrix, for instance "
            "scipy.sparse.csr_array(...)"
        )
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
        if csr.nnz < max(csr.indices.size, csr.data.size):  # there is room behind the entries
            stored = (csr.data[: csr.nnz], csr.indices[: csr.nnz], csr.indptr)
            csr = sparse.csr_array(stored, shape=csr.shape)
        if csr.dtype == dtype:
            return csr
        return sparse.csr_array((csr.data.astype(dtype), csr.indices, csr.indptr), shape=csr.shape)
    coo = matrix.tocoo()  # its own tocsr adds repeated entries up
    for axis, positions in (("row", coo.row), ("column", coo.col)):
        _check_range(positions, coo.shape[axis == "column"], axis, name)
    order = np.argsort(coo.row, kind="stable")
    arrays = (coo.data[order].astype(dtype), coo.col[order], _indptr(coo.row, coo.shape[0]))
    return sparse.csr_array(arrays, shape=coo.shape)


def _check_index(matrix: Any, name: str) -> None:
    """Raise if a CSR or CSC matrix made by hand points outside itself: kernels do not look."""
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


def _indptr(rows: NDArray[Any], n_rows: int) -> NDArray[np.int64]:
    """Where each row starts among entries that are sorted by row."""
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=indptr[1:])
    return indptr
