"""Entries of pairings over the columns of others: the arrays of a matrix."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold._common.checks import check_choice
from twofold.data.csr import is_ascending
from twofold.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from twofold.data.pairings import Pairings
    from twofold.data.selection import WithSelection

__all__ = [
    "AlignedEntries",
    "aligned_entries",
    "entries_of_columns",
    "entries_of_rows",
    "entries_over",
    "find_cols",
]


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


def aligned_entries(pairings: "Pairings", others: "Pairings") -> AlignedEntries:
    """Return the entries of pairings with columns of others, in the order of these."""
    return entries_over(pairings, others._cols)


def entries_over(pairings: "WithSelection", columns: Vocabulary) -> AlignedEntries:
    """Return the entries of pairings whose columns are among others, in the order of these."""
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


def entries_of_rows(pairings: "Pairings", positions: NDArray[np.int64]) -> AlignedEntries:
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
    col_ids: ArrayLike, pairings: "Pairings", unknown: Literal["drop", "error"] = "drop"
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


def find_cols(pairings: "Pairings", ids: ArrayLike) -> NDArray[np.int64]:
    """Return the position of each column id, or -1 where it is unknown."""
    return pairings._cols.find(pairings._cols.of(ids))
