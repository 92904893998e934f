"""`Pairings`: a sparse matrix with the ids of its rows and columns."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import Ids, Times
from twofold._common.cached import state_of
from twofold._common.checks import check_flags
from twofold.data.builder import IdType, OnNull, PairBuilder
from twofold.data.csr import Duplicates, as_csr, pair_at
from twofold.data.files import ZIP, damage_explained, read_file, write_file
from twofold.data.frames import frame_chunks
from twofold.data.given import numbers_of_pairs, times_of_pairs
from twofold.data.report import ReadReport
from twofold.data.selection import WithSelection
from twofold.data.stored import arguments_of, parts_of
from twofold.data.vocabulary import as_ids, check_unique
from twofold.data.with_frame import WithFrame
from twofold.exceptions import InvalidInputError

__all__ = ["Pairings"]

_KIND, _VERSION = "pairings", 1  # of files


@dataclass(frozen=True, eq=False)
class Pairings(WithSelection, WithFrame):
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
            object.__setattr__(self, "times", times_of_pairs(self.times, matrix.nnz))
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
                of_each = times_of_pairs if kind == "time" else numbers_of_pairs
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
            return Pairings(**arguments_of(*parts))

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

    @staticmethod
    def _made(*arguments: Any, **options: Any) -> "Pairings":
        return Pairings(*arguments, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the indexes out of pickles: they are built again."""
        return state_of(self)

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
