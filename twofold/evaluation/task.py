"""What a model is given of the rows of a split, and what it has to find or to predict."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold.data.csr import with_data
from twofold.data.entries import aligned_entries, entries_of_rows
from twofold.data.pairings import Pairings
from twofold.data.vocabulary import Vocabulary
from twofold.evaluation.result import Counts

__all__ = ["GivenRows", "Task"]


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Some rows that a model is given, without the ids of the columns.

    Parameters
    ----------
    ids : ndarray
        Ids of the rows.
    matrix : csr_array, optional
        The pairs of new rows; None for trained rows.
    weights : ndarray, optional
        The weights of the pairs.
    """

    ids: Ids
    matrix: sparse.csr_array | None = None
    weights: NDArray[Any] | None = None

    @classmethod
    def of(cls, rows: Pairings | NDArray[Any], positions: NDArray[np.int64]) -> "GivenRows":
        """Return the rows at some positions."""
        if not isinstance(rows, Pairings):
            return cls(rows[positions])
        entries = entries_of_rows(rows, positions)
        return cls(rows.row_ids[positions], entries.matrix, entries.beside.get("weights"))

    def over(self, col_ids: NDArray[Any]) -> Pairings | NDArray[Any]:
        """Return new rows with the ids of their columns, or the ids of trained rows."""
        if self.matrix is None:
            return self.ids
        return Pairings(self.matrix, self.ids, col_ids, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Task:
    """What a model is given and what it has to find, over its own columns."""

    rows: Pairings | NDArray[Any]
    """New rows, or the ids of trained ones."""
    relevant: sparse.csr_array
    """The held-out pairs with known columns, to be recommended."""
    pairs: Pairings
    """The held-out pairs to be predicted."""
    n_relevant: NDArray[np.int64]
    n_unknown_rows: int
    n_heldout: int
    n_unknown_pairs: int
    n_unknown_cols: int
    n_given_heldout: int

    @classmethod
    def of(
        cls,
        trained: Pairings,
        seen: Pairings,
        heldout: Pairings,
        trained_rows: bool,
        misses_count: bool,
    ) -> "Task":
        """Align the parts of a split with the columns of a model.

        Rows that are not trained ones have no pair then.
        """
        known, entries = seen.align(trained), aligned_entries(heldout, trained)
        given, relevant = known.matrix, entries.matrix
        if trained_rows:
            given = _trained_pairs(trained, seen.row_ids)
        is_known = np.diff(given.indptr) > 0
        n_given_heldout = _n_common(given, relevant)
        n_relevant, pairs = np.diff(heldout.matrix.indptr), heldout
        if not misses_count:
            n_relevant = np.where(is_known, np.diff(relevant.indptr), 0)
            relevant = _only_rows(relevant, is_known)
            pairs = Pairings(relevant, heldout.row_ids, trained.col_ids)
        return cls(
            known.row_ids if trained_rows else known, relevant, pairs, n_relevant,
            int(np.count_nonzero(~is_known)), heldout.n_pairs,
            heldout.n_pairs - entries.indices.size, entries.lost.size, n_given_heldout,
        )  # fmt: skip

    def counts(self, n_unanswered: int) -> Counts:
        """Return the counts, of which one is that of the rows without a recommendation."""
        n_rows, n_scored = self.n_relevant.size, int(np.count_nonzero(self.n_relevant))
        return Counts(
            n_rows, n_scored, n_unanswered, self.n_unknown_rows,
            self.n_heldout, self.n_unknown_pairs, self.n_unknown_cols,
        )  # fmt: skip


def _trained_pairs(trained: Pairings, row_ids: NDArray[Any]) -> sparse.csr_array:
    """Return the training pairs of rows; none for a row that is unknown."""
    positions = Vocabulary(trained.row_ids, "row").find(row_ids)
    is_trained = positions >= 0
    pairs, lengths = trained.matrix[positions[is_trained]], np.zeros(row_ids.size, np.int64)
    lengths[is_trained] = np.diff(pairs.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    shape = (row_ids.size, trained.shape[1])
    return sparse.csr_array((pairs.data, pairs.indices, indptr), shape=shape)


def _n_common(first: sparse.csr_array, second: sparse.csr_array) -> int:
    """Return the number of pairs that both matrices store, whatever their values."""
    a, b = (with_data(each, np.ones(each.indices.size, np.bool_)) for each in (first, second))
    return int(a.multiply(b).nnz)


def _only_rows(matrix: sparse.csr_array, kept: NDArray[np.bool_]) -> sparse.csr_array:
    """Return the matrix with the entries of some rows only."""
    lengths = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(np.where(kept, lengths, 0))])
    entries = np.repeat(kept, lengths)
    parts = (matrix.data[entries], matrix.indices[entries], indptr)
    return sparse.csr_array(parts, shape=matrix.shape)
