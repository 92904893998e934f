"""Which recommended columns are relevant, found once for all metrics."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.cached import cached_property
from twofold._common.checks import check_whole
from twofold.exceptions import InvalidInputError

__all__ = [
    "Judged", "check_length", "check_lists", "count_columns", "find_stored", "judge",
]  # fmt: skip

_MARKS = 1 << 20  # bytes of marks of a block of rows: they stay in the cache


@dataclass(frozen=True, eq=False)
class Judged:
    """Ranked recommendations beside the relevant columns; made by `judge`.

    Attributes
    ----------
    recommended : ndarray of int32 or int64, shape (n_rows, n)
        Positions of the recommended columns, best first; -1 where there is none.
    hits : ndarray of bool, shape (n_rows, n)
        Whether the recommended column is relevant.
    n_relevant : ndarray of int64, shape (n_rows,)
        Number of relevant columns of each row, |H|.
    relevant : scipy csr_array, shape (n_rows, n_cols)
        The relevant pairs, each stored once.

    Examples
    --------
    >>> judged = judge([[0, 2], [3, 1]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]]))
    >>> judged.n_rows, judged.n_cols, judged.n_relevant.tolist()
    (2, 4, [2, 1])
    >>> judged.hits_within(2)
    (array([0, 1]), array([1, 2]))
    >>> judged.counts_within(1)
    array([1, 0, 0, 1])
    """

    recommended: NDArray[Any]
    hits: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]
    relevant: Any

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.hits.shape[0])

    @property
    def n_cols(self) -> int:
        """Number of columns that can be recommended."""
        return int(self.relevant.shape[1])

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of all hits, ascending, and their ranks from 1, ascending in each row."""
        rows, ranks = np.divmod(np.flatnonzero(self.hits), self.hits.shape[1])
        return rows, ranks + 1

    @cached_property
    def _counts(self) -> dict[int, NDArray[np.int64]]:
        """The results of `counts_within` by k."""
        return {}

    def counts_within(self, k: int) -> NDArray[np.int64]:
        """Return how many rows have each column among their first k recommendations.

        Parameters
        ----------
        k : int
            Length of the lists that are counted, from 1 to n.

        Returns
        -------
        ndarray of int64, shape (n_cols,)
            The counts, computed once for each k and read-only.

        Raises
        ------
        InvalidInputError
            If k is not a whole number from 1 to n.
        """
        check_length(k, self.recommended)
        if k not in self._counts:
            counts = count_columns(self.recommended[:, :k], self.n_cols)
            counts.flags.writeable = False
            self._counts[k] = counts
        return self._counts[k]

    def hits_within(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row and the rank of each hit among the first k recommendations.

        Parameters
        ----------
        k : int
            Length of the list that is judged, from 1 to n.

        Returns
        -------
        rows : ndarray of int64, shape (n_hits,)
            Positions of rows, ascending.
        ranks : ndarray of int64, shape (n_hits,)
            Ranks from 1 to k, ascending in each row.

        Raises
        ------
        InvalidInputError
            If k is not a whole number from 1 to n.
        """
        check_length(k, self.recommended)
        rows, ranks = self._places
        if k == self.hits.shape[1]:
            return rows, ranks
        inside = ranks <= k
        return rows[inside], ranks[inside]


def judge(recommended: ArrayLike, relevant: Any, *, n_relevant: ArrayLike | None = None) -> Judged:
    """Find the recommended columns that are relevant.

    Parameters
    ----------
    recommended : array_like of int, shape (n_rows, n)
        Positions of the recommended columns, best first, each at most once in a row; -1 where
        there is no recommendation, which is a miss.
    relevant : scipy sparse matrix or array, shape (n_rows, n_cols)
        The held-out pairs. Every stored entry counts; its value does not matter.
    n_relevant : array_like of int, shape (n_rows,), optional
        Number of held-out pairs of each row, |H|, where it is larger than what `relevant` stores:
        held-out columns that the model does not have cannot be recommended and are misses. By
        default the number of stored entries.

    Returns
    -------
    Judged
        The table that every metric accepts in place of `recommended` and `relevant`.

    Raises
    ------
    InvalidInputError
        If shapes do not fit, a position is out of range, a row recommends a column twice, or
        n_relevant is smaller than the number of stored entries.

    Examples
    --------
    >>> from scipy import sparse
    >>> judged = judge([[0, 2], [3, -1]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]]))
    >>> judged.hits.tolist(), judged.n_relevant.tolist()
    ([[True, False], [False, False]], [2, 1])
    """
    if not sparse.issparse(relevant):
        raise InvalidInputError(
            f"relevant is of type {type(relevant).__name__}: it must be a scipy sparse matrix or "
            "array"
        )
    lists = check_lists(recommended, relevant.shape[1], "relevant has")
    if lists.shape[0] != relevant.shape[0]:
        raise InvalidInputError(
            f"recommended has {lists.shape[0]} rows but relevant has {relevant.shape[0]}: "
            "give one list for each row"
        )
    entries = sparse.csr_array(relevant)
    if not entries.has_canonical_format:
        entries = entries.copy()
        entries.sum_duplicates()
    stored = np.diff(entries.indptr).astype(np.int64)
    counts = stored if n_relevant is None else _check_counts(n_relevant, stored)
    return Judged(lists, find_stored(lists, entries), counts, entries)


def check_lists(recommended: ArrayLike, n_cols: int, source: str) -> NDArray[Any]:
    """Return the lists as int32 or int64, or say what is wrong with them."""
    lists = np.asarray(recommended)
    if lists.ndim != 2 or lists.dtype.kind not in "iu":
        raise InvalidInputError(
            f"recommended has {lists.ndim} dimensions and dtype {lists.dtype}: it must be a "
            "(n_rows, n) array of integer column positions"
        )
    if lists.size and (lists.min() < -1 or lists.max() >= n_cols):
        row, place = np.argwhere((lists < -1) | (lists >= n_cols))[0]
        raise InvalidInputError(
            f"recommended[{row}, {place}] is {lists[row, place]}, but {source} {n_cols} "
            f"columns: a position goes from 0 to {n_cols - 1}, or is -1 for none"
        )
    ordered = np.sort(lists.astype(np.int32 if n_cols < 1 << 31 else np.int64), axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, place = np.argwhere(repeated)[0]
        raise InvalidInputError(
            f"row {row} of recommended holds column {ordered[row, place]} more than once: "
            "recommend each column at most once"
        )
    return lists if lists.dtype in (np.int32, np.int64) else lists.astype(np.int64)


def check_length(k: int, lists: NDArray[Any]) -> None:
    """Raise unless k is a whole number from 1 to the length of the lists."""
    check_whole(k, "k", 1)
    if k > lists.shape[1]:
        raise InvalidInputError(
            f"k is {k}, but recommended holds only {lists.shape[1]} columns for each row: "
            "recommend more or use a smaller k"
        )


def count_columns(lists: NDArray[Any], n_cols: int) -> NDArray[np.int64]:
    """Return how often each column stands in the lists."""
    # Position -1 is counted first and left out.
    return np.bincount(lists.ravel() + 1, minlength=n_cols + 1)[1:]


def _check_counts(n_relevant: ArrayLike, stored: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.asarray(n_relevant)
    if counts.shape != stored.shape or counts.dtype.kind not in "iu":
        raise InvalidInputError(
            f"n_relevant has shape {counts.shape} and dtype {counts.dtype}: it must have an "
            f"integer for each of {stored.size} rows"
        )
    smaller = np.flatnonzero(counts < stored)
    if smaller.size:
        row = smaller[0]
        raise InvalidInputError(
            f"n_relevant[{row}] is {counts[row]}, but relevant stores {stored[row]} columns of "
            "that row: count every held-out column"
        )
    return counts.astype(np.int64)


def find_stored(lists: NDArray[Any], entries: Any) -> NDArray[np.bool_]:
    """Return which columns of the lists are stored in their row of entries.

    The relevant columns of a block of rows are marked in a dense table, which is reused. Its first
    column stands for -1 and is never marked.
    """
    n_rows, width = lists.shape[0], entries.shape[1] + 1
    n_block = max(1, _MARKS // width)
    marks = np.zeros(n_block * width, dtype=bool)
    starts = np.arange(n_block) * width + 1
    hits = np.empty(lists.shape, dtype=bool)
    for first in range(0, n_rows, n_block):
        block = slice(first, min(first + n_block, n_rows))
        bounds = entries.indptr[block.start : block.stop + 1]
        offsets = starts[: block.stop - block.start]
        marked = np.repeat(offsets, np.diff(bounds)) + entries.indices[bounds[0] : bounds[-1]]
        marks[marked] = True
        hits[block] = marks[lists[block] + offsets[:, None]]
        marks[marked] = False
    return hits
