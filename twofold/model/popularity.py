"""`Popularity`: the most frequent columns for everyone, the baseline of every evaluation."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold._common.checks import check_flags
from twofold.data.entries import aligned_entries
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import NotFittedError
from twofold.model.checks import check_n
from twofold.model.ranking import NO_RULES, Ranking, Rules, best_columns

__all__ = ["Popularity", "count_rows", "most_popular"]

_PAIRS = 1 << 22  # that are counted together, which bounds the memory


class Popularity:
    """Recommend to each row the columns that most rows have and that it does not have.

    The score of a column is the number of rows that have a pair with it, whatever its value and
    weight; equal scores are ordered by position.

    Examples
    --------
    >>> pairings = Pairings.from_arrays(["a", "a", "b", "c"], [1, 2, 2, 3])
    >>> Popularity().fit(pairings).recommend(["a", "c"], n=2).col_ids
    array([[ 3, -1],
           [ 2,  1]])
    """

    def __init__(self) -> None:
        # One attribute, so that threads never see the pairs of one fit with the counts of another.
        self._fitted: tuple[Pairings, NDArray[np.int64]] | None = None

    def __repr__(self) -> str:
        fitted = "not fitted" if self._fitted is None else f"{self.col_ids.size} columns"
        return f"<Popularity: {fitted}>"

    def fit(self, pairings: Pairings) -> Self:
        """Count the rows that have each column.

        Parameters
        ----------
        pairings : Pairings
            The training pairs.

        Returns
        -------
        Popularity
            Itself.

        Raises
        ------
        InvalidInputError
            If pairings is something else.
        """
        check_pairings(pairings)
        self._fitted = (pairings, count_rows(pairings.matrix))
        return self

    @property
    def pairings(self) -> Pairings:
        """The pairs that were counted; NotFittedError before `fit`."""
        return self._get_fitted()[0]

    def _get_fitted(self) -> tuple[Pairings, NDArray[np.int64]]:
        if self._fitted is None:
            raise NotFittedError("popularity is not counted: call fit(pairings) first")
        return self._fitted

    @property
    def col_ids(self) -> Ids:
        """Ids of the columns, shape (n_cols,)."""
        return self.pairings.col_ids

    def recommend(
        self, rows: ArrayLike | Pairings, n: int = 10, *, exclude_known: bool = True
    ) -> Ranking:
        """Return the n most frequent columns for each row.

        Parameters
        ----------
        rows : array_like of ids, or Pairings
            Ids of counted rows, or new rows.
        n : int, default 10
            Columns for each row, >= 1, limited as in `FactorModel.recommend`; padded where there
            are no more.
        exclude_known : bool, default True
            Leave out the columns that the row has already.

        Returns
        -------
        Ranking
            With shape (n_rows, n) each.

        Raises
        ------
        UnknownIdError
            If a row id is not among the counted ones.
        """
        trained, counts = self._get_fitted()
        n = check_n(n, trained.shape[1])
        check_flags(exclude_known=exclude_known)
        if isinstance(rows, Pairings):
            ids, known = rows.row_ids, aligned_entries(rows, trained).matrix
            positions = np.arange(ids.size)
        else:
            positions = trained.row_index(rows)
            ids, known = trained.row_ids[positions], trained.matrix
        found, scores = most_popular(counts, positions, n, known if exclude_known else None)
        return Ranking.of(ids, trained.col_ids, found, scores)


def count_rows(matrix: sparse.csr_array) -> NDArray[np.int64]:
    """Return how many rows store each column. A pair that is stored twice counts once."""
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    counts = np.zeros(matrix.shape[1], np.int64)
    for low in range(0, matrix.nnz, _PAIRS):  # np.bincount converts them to 64 bits
        counts += np.bincount(matrix.indices[low : low + _PAIRS], minlength=counts.size)
    return counts


def most_popular(
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    n: int,
    excluded: sparse.csr_array | None = None,
    rules: Rules = NO_RULES,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the n most frequent candidates of each row, and their counts.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_cols,)
        Number of rows that have each column.
    rows : ndarray of int64, shape (m,)
        Positions of the rows in ``excluded``.
    n, excluded, rules, n_threads
        As for `best_columns`.

    Returns
    -------
    tuple of ndarray, shape (m, n)
        Positions (-1: padding) and counts (nan: padding).
    """
    factors = np.ones((int(rows.max(initial=-1)) + 1, 1))
    return best_columns(
        factors, counts[:, np.newaxis].astype(np.float64), n, excluded,
        rows=rows, rules=rules, n_threads=n_threads,
    )  # fmt: skip
