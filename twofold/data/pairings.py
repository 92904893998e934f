"""`Pairings`: a sparse matrix with the ids of its rows and columns."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import Ids, Times
from twofold._common.cached import cached_property, state_of
from twofold._common.checks import check_choice, check_flags
from twofold.data.builder import IdType, OnNull, PairBuilder
from twofold.data.columns import ItemError, to_times
from twofold.data.csr import Duplicates, as_csr, check_limit, is_ascending, pair_at, with_data
from twofold.data.files import ZIP, damage_explained, read_file, write_file
from twofold.data.frames import frame_chunks
from twofold.data.report import ReadReport
from twofold.data.vocabulary import Vocabulary, as_ids, check_unique
from twofold.data.with_frame import WithFrame
from twofold.exceptions import InvalidInputError, UnknownIdError

__all__ = ["Pairings"]


_KIND, _VERSION = "pairings", 1  # of files


@dataclass(frozen=True, eq=False)
class Pairings(WithFrame):
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
    times : array_like, shape (n_pairs,), optional
        When each pair was made: integers in any unit, or dates and times, which become datetime64
        in microseconds. The matrix must be CSR; the order is that of ``matrix.data``.
    n_dropped_pairs : int, default 0
        How many pairs `align` left out, because their column is unknown.
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

    Notes
    -----
    `to_frame` has a line for each pair, in the order of the matrix: ``row``, ``col``, ``value``,
    and ``weight`` and ``time`` if there are any.

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
    times: Times | None = field(default=None, kw_only=True, repr=False)
    n_dropped_pairs: int = field(default=0, kw_only=True)
    n_dropped_cols: int = field(default=0, kw_only=True)
    n_null_dropped: int = field(default=0, kw_only=True)
    report: ReadReport | None = field(default=None, kw_only=True, repr=False)

    if TYPE_CHECKING:  # for the types that are accepted, where those of the fields are the results

        def __init__(
            self,
            matrix: Any,
            row_ids: ArrayLike,
            col_ids: ArrayLike,
            *,
            weights: Any = None,
            times: ArrayLike | None = None,
            n_dropped_pairs: int = 0,
            n_dropped_cols: int = 0,
            n_null_dropped: int = 0,
            report: ReadReport | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        matrix, weights = as_csr(self.matrix, self.weights)
        for axis, name in enumerate(("row", "col")):
            ids = as_ids(getattr(self, f"{name}_ids"), f"{name}_ids")
            if ids.size != matrix.shape[axis]:
                raise InvalidInputError(
                    f"{name}_ids has {ids.size} ids, but the matrix has {matrix.shape[axis]} "
                    f"{name}s: give one id for each {name}"
                )
            check_unique(ids, f"{name}_ids")
            object.__setattr__(self, f"{name}_ids", ids)
        if weights is not None:
            good = (weights >= 0) & (weights < np.inf)
            if not good.all():
                entry = int(np.argmin(good))
                row, col = pair_at(matrix.indptr, matrix.indices, self.row_ids, self.col_ids)(entry)
                raise InvalidInputError(
                    f"the weight of row {row!r}, column {col!r} is {weights[entry]}: "
                    "weights must be finite and >= 0"
                )
        if self.times is not None:
            if self.matrix.format != "csr":
                raise InvalidInputError("times need a matrix in CSR format, whose order they have")
            object.__setattr__(self, "times", _times(self.times, matrix.nnz))
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "weights", weights)

    @staticmethod
    def from_arrays(
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        times: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
        duplicates: Duplicates = "keep-one",
    ) -> "Pairings":
        """Build pairings from parallel arrays of ids, one entry for each pair.

        Parameters
        ----------
        rows, cols : array_like, shape (n_pairs,)
            The row id and the column id of each pair: integers, strings or UUIDs, which become
            strings.
        values : array_like, shape (n_pairs,), optional
            A finite number for each pair. Without it every stored value is 1.
        weights : array_like, shape (n_pairs,), optional
            A finite weight >= 0 for each pair, beside its value.
        times : array_like, shape (n_pairs,), optional
            When each pair was made: integers, or dates and times.
        row_ids : array_like, optional
            Ids of rows that exist, with or without a pair: the result has these rows, too.
        duplicates : {"keep-one", "count", "error"}, default "keep-one"
            What a pair that occurs several times becomes: one entry (with equal values and equal
            weights, otherwise an error); one entry that counts the occurrences, or adds up their
            values, and adds up their weights; or an error. It has the latest of their times.

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
        columns: list[Any] = [as_ids(rows, "rows"), as_ids(cols, "cols")]
        n = columns[0].size
        if columns[1].size != n:
            raise InvalidInputError(
                f"rows has {n} entries but cols has {columns[1].size}: "
                "they must be parallel arrays, one entry for each pair"
            )
        names: dict[str, Any] = {}
        for kind, numbers in (("value", values), ("weight", weights), ("time", times)):
            if numbers is not None:
                names[kind] = f"{kind}s"
                of_each = _times if kind == "time" else _numbers
                columns.append(of_each(numbers, n, f"{kind}s"))
        builder = PairBuilder("rows", "cols", **names, duplicates=duplicates)
        builder.noun = "array"
        builder.add(columns)
        existing = None if row_ids is None else as_ids(row_ids, "row_ids")
        return Pairings(**builder.build("arrays", existing))

    @staticmethod
    def from_frame(
        frame: Any,
        row: str = "pid",
        col: str = "tid",
        value: str | None = None,
        *,
        weight: str | None = None,
        time: str | None = None,
        duplicates: Duplicates = "keep-one",
        on_null: OnNull = "error",
        id_type: IdType | None = None,
    ) -> "Pairings":
        """Build pairings from a data frame, one line for each pair; needs ``twofold[frames]``.

        Parameters
        ----------
        frame : DataFrame or Table
            Of pandas (2.2 or newer), polars, pyarrow or any other library whose frames have
            ``__arrow_c_stream__``.
        row : str, default "pid"
            The column of row ids: integers, text or UUIDs, also as categories. Whole numbers in a
            column of floats or decimals count as integers, as pandas makes floats of integers where
            some are missing.
        col : str, default "tid"
            The column of column ids, likewise; or of lists of them, where a line is a row.
        value : str, optional
            The column with a finite number for each pair. Without it every stored value is 1.
        weight : str, optional
            The column with a finite weight >= 0 for each pair, beside its value.
        time : str, optional
            The column that says when a pair was made: integers, or dates and times.
        duplicates : {"keep-one", "count", "error"}, default "keep-one"
            What a pair that occurs several times becomes; see `from_arrays`.
        on_null : {"error", "drop"}, default "error"
            What to do with a pair whose row or column id is NULL, None or NaN: raise; or leave it
            out, and say how many in `n_null_dropped`.
        id_type : {"text", "integer"}, optional
            What ids become. By default integers stay integers and text stays text.

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
        builder = PairBuilder(
            row, col, value, weight, time,
            duplicates=duplicates, on_null=on_null, id_type=id_type,
        )  # fmt: skip
        for columns in frame_chunks(frame, builder.names):
            builder.add(columns)
        return Pairings(**builder.build("arrow"))

    @staticmethod
    def open(
        path: str | os.PathLike[str], mmap: bool = True, *, verify: bool = False
    ) -> "Pairings":
        """Open a file that `save` wrote, in milliseconds.

        Mapped arrays stay in the file until something reads them, are shared by all processes that
        open it, and can be dropped by the system when memory is short. They are copy-on-write:
        writing to them changes neither the file nor what others see.

        That every index is inside the matrix and that the ids are unique is checked in any case,
        as solvers rely on it, so the column indices are read through once (0.07 s for 63 million
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

        Examples
        --------
        >>> Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7]).save("pairings.npz")
        >>> Pairings.open("pairings.npz")
        <Pairings: 2 rows x 2 columns, 3 pairs>
        """
        check_flags(mmap=mmap, verify=verify)
        parts = read_file(path, _KIND, _VERSION, mapped=mmap, verify=verify or not mmap)
        with damage_explained(path, "pairings", ZIP):
            return from_parts(*parts)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of columns."""
        return (self.row_ids.size, self.col_ids.size)

    @property
    def n_pairs(self) -> int:
        """Number of stored pairs."""
        return int(self.matrix.nnz)

    @property
    def beside(self) -> dict[str, Any]:
        """The weights and times of the pairs, by name, as far as there are any."""
        named = {"weights": self.weights, "times": self.times}
        return {name: numbers for name, numbers in named.items() if numbers is not None}

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.shape[0]} rows x {self.shape[1]} columns, "
            f"{self.n_pairs} pairs>"
        )

    @cached_property
    def _rows(self) -> Vocabulary:
        return Vocabulary(self.row_ids, "row")

    @cached_property
    def _cols(self) -> Vocabulary:
        return Vocabulary(self.col_ids, "column")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the indexes out of pickles: they are built again."""
        return state_of(self)

    def row_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given row ids, shape (n,); `UnknownIdError` if there is no such id.

        Parameters
        ----------
        ids : array_like, shape (n,), or int or str
            Row ids, or a single one.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If there is no such id.

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.row_index(["tue"]).tolist()
        [1]
        """
        return self._rows.positions(ids)

    def col_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given column ids, shape (n,); `UnknownIdError` if there is no such id.

        Parameters
        ----------
        ids : array_like, shape (n,), or int or str
            Column ids, or a single one.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If there is no such id.

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.col_index([9]).tolist()
        [1]
        """
        return self._cols.positions(ids)

    def __getitem__(self, rows: Any) -> "Pairings":
        """Return some rows as `take_rows` does; scikit-learn divides pairings by it.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool, shape (n,) or (n_rows,)
            Positions, as for an array of the rows: not ids.
        """
        if isinstance(rows, tuple) and rows[1:] == (Ellipsis,):  # as scikit-learn writes it
            rows = rows[0]
        return self.take_rows(np.atleast_1d(np.arange(self.row_ids.size)[rows]))

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

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.take_rows([1]).row_ids.tolist()
        ['tue']
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
        matrix, beside = self.matrix[taken], self.beside
        if beside:
            entries = with_data(self.matrix, np.arange(self.n_pairs))[taken].data
            beside = {name: numbers[entries] for name, numbers in beside.items()}
        return Pairings(matrix, self.row_ids[taken], self.col_ids, **beside)

    def drop_empty_cols(self) -> "Pairings":
        """Return the same pairs and rows without the columns that have no stored pair.

        Returns
        -------
        Pairings
            The other columns keep their order.

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "tue"], [7, 9]).take_rows([1])
        >>> pairings.drop_empty_cols().col_ids
        array([9])
        """
        indices = self.matrix.indices
        has_pair = np.zeros(self.col_ids.size, dtype=bool)
        has_pair[indices] = True
        positions = (np.cumsum(has_pair) - 1).astype(indices.dtype)
        matrix = sparse.csr_array(
            (self.matrix.data, positions[indices], self.matrix.indptr),
            shape=(self.row_ids.size, np.count_nonzero(has_pair)),
        )
        return Pairings(matrix, self.row_ids, self.col_ids[has_pair], **self.beside)

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
            If `col_ids` repeats an id, they are integers and those of the pairings are strings (or
            the other way round), or `unknown` is neither of the two.
        UnknownIdError
            If `unknown="error"` and a stored pair has a column that is not in `col_ids`.

        Examples
        --------
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> aligned = pairings.align([9, 11])
        >>> aligned.shape, aligned.n_dropped_pairs
        ((2, 2), 2)
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
            **entries.beside,
            n_dropped_pairs=self.n_pairs - entries.indices.size,
            n_dropped_cols=entries.lost.size,
        )

    def _frame_columns(self) -> dict[str, Any]:
        matrix = self.matrix
        columns = {
            "row": np.repeat(self.row_ids, np.diff(matrix.indptr)),
            "col": self.col_ids[matrix.indices],
            "value": matrix.data[: matrix.nnz],
        }
        return columns | {name[:-1]: numbers for name, numbers in self.beside.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pairings to a file that `open` maps into memory, atomically, without pickle.

        The file is an uncompressed ``.npz``, which `numpy.load` reads, too. It takes 8 bytes for
        each pair with float32 values, 12 with float64, and 8 more with weights or times each.
        Values are stored even where all of them are 1. Names of tracks and playlists are not part
        of it. Only a process that is killed while it writes leaves something behind: a hidden file
        ``.<name>.<letters>.tmp``.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the ending ``.npz``; none is added. One that exists is
            replaced, and stays as it is if writing fails.

        Raises
        ------
        InvalidInputError
            If the file cannot be written.

        Examples
        --------
        >>> Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7]).save("week.npz")
        >>> Pairings.open("week.npz")
        <Pairings: 2 rows x 2 columns, 3 pairs>
        """
        arrays, meta = parts_of(self)
        write_file(path, _KIND, _VERSION, arrays, meta)


def check_pairings(pairings: Any) -> None:
    """Raise unless this is what a function that writes pairings needs."""
    if not isinstance(pairings, Pairings):
        raise InvalidInputError(
            f"pairings is a {type(pairings).__name__}: make Pairings of it, by "
            "Pairings.from_arrays(row_ids, col_ids)"
        )


def find_cols(pairings: Pairings, ids: ArrayLike) -> NDArray[np.int64]:
    """Return the position of each column id, or -1 where it is unknown."""
    return pairings._cols.find(pairings._cols.of(ids))


def parts_of(pairings: Pairings) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Return what files keep of pairings: arrays, and numbers by name."""
    matrix = pairings.matrix
    check_limit(matrix.shape)
    arrays = {
        "data": matrix.data[: matrix.nnz],
        "indices": matrix.indices[: matrix.nnz].astype(np.int32, copy=False),
        "indptr": matrix.indptr,
        "row_ids": pairings.row_ids,
        "col_ids": pairings.col_ids,
    }
    arrays |= pairings.beside
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
    beside: dict[str, Any] = {name: arrays.get(name) for name in ("weights", "times")}
    return Pairings(matrix, row_ids, col_ids, **beside, **counts)


@dataclass(frozen=True, eq=False)
class AlignedEntries:
    """The arrays of `Pairings.align`, sorted by column in each row."""

    col_ids: Ids
    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[Any]
    beside: dict[str, Any]
    """Weights and times, as of `Pairings.beside`."""
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
        columns = Vocabulary(as_ids(col_ids, "col_ids"), "column")
    matrix = pairings.matrix
    numbers = {"data": matrix.data, **pairings.beside}
    indptr, indices = matrix.indptr, matrix.indices
    if pairings.col_ids is not columns.ids:  # not aligned already
        indices = columns.find(pairings.col_ids)[indices]
    lost = matrix.indices[:0]
    known = indices >= 0
    if not known.all():
        lost = np.unique(matrix.indices[~known])
        indptr = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])[indptr]
        indices = indices[known]
        numbers = {name: array[known] for name, array in numbers.items()}
    if not is_ascending(indptr, indices):
        order = sparse.csr_array(
            (np.arange(indices.size), indices, indptr), shape=(indptr.size - 1, columns.ids.size)
        )
        order.sort_indices()
        indices = order.indices
        numbers = {name: array[order.data] for name, array in numbers.items()}
    return AlignedEntries(columns.ids, indptr, indices, numbers.pop("data"), numbers, lost)


def entries_of_rows(pairings: Pairings, positions: NDArray[np.int64]) -> AlignedEntries:
    """Return the entries of the rows at some positions, in the order of the matrix."""
    matrix = pairings.matrix
    starts = matrix.indptr[positions]
    lengths = matrix.indptr[positions + 1] - starts
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
    beside = {name: numbers[entries] for name, numbers in pairings.beside.items()}
    return AlignedEntries(
        pairings.col_ids, indptr, matrix.indices[entries], matrix.data[entries], beside,
        matrix.indices[:0],
    )  # fmt: skip


def entries_of_columns(
    col_ids: ArrayLike, pairings: Pairings, unknown: Literal["drop", "error"] = "drop"
) -> AlignedEntries:
    """Return the entries of one row with the given columns, over the columns of pairings.

    A column that is given several times is one entry, whose value is 1. The positions in ``lost``
    are those in ``col_ids``.
    """
    check_choice(unknown, "unknown", ("drop", "error"))
    columns = pairings._cols
    found = columns.positions(col_ids) if unknown == "error" else columns.find(columns.of(col_ids))
    # Of the few columns of a row, a set takes a fifth of the time of np.unique.
    listed = found.tolist()
    lost = np.array([place for place, position in enumerate(listed) if position < 0], np.int64)
    indices = np.array(sorted(set(listed) - {-1}), np.int32)
    indptr, ones = np.array([0, indices.size], np.int32), np.ones(indices.size, np.float32)
    return AlignedEntries(columns.ids, indptr, indices, ones, {}, lost)


def _numbers(values: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return float64, or raise unless there is a number for each of n pairs."""
    array = _flat(values, n, name)
    if array.dtype.kind not in "biufO":
        raise InvalidInputError(f"{name} holds {array.dtype}: give a finite number for each pair")
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{name} must be finite numbers, one for each pair: {error}"
        ) from error


def _times(values: Any, n: int, name: str = "times") -> Times:
    """Return int64 or datetime64 in microseconds, one for each of n pairs."""
    array = _flat(values, n, name)
    if array.dtype.kind == "O":
        try:
            array = to_times(array.tolist())
        except ItemError as bad:
            raise InvalidInputError(f"{name}[{bad.position}] cannot be used: {bad}") from None
    if array.dtype.kind == "M" and not np.isnat(array).any():
        return array.astype("datetime64[us]", copy=False)
    if array.size and array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{name} holds {array.dtype}: give integers, or dates and times without NaT"
        )
    beyond = array > np.iinfo(np.int64).max
    if beyond.any():
        position = int(np.argmax(beyond))
        raise InvalidInputError(
            f"{name}[{position}] is {array[position]}: times must be 64-bit integers, or dates and "
            "times"
        )
    return array.astype(np.int64, copy=False)


def _flat(values: Any, n: int, name: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidInputError(
            f"{name} is a masked array: leave the masked pairs out, or fill it, by {name}.filled()"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(f"{name} is nested unevenly: {error}") from error
    if array.shape != (n,):
        raise InvalidInputError(f"{name} has shape {array.shape}, but there are {n} pairs")
    return array
