"""Metrics of a whole table of recommendations: how they spread over the columns.

They are computed from the number of rows that are recommended each column, and these numbers add up
over batches of rows.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.checks import check_whole
from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import Judged, check_length, check_lists, count_columns

__all__ = ["coverage", "gini", "novelty", "recommendation_counts"]


def recommendation_counts(
    recommended: ArrayLike | Judged, n_cols: int, k: int
) -> NDArray[np.int64]:
    """Count the rows that have each column among their first k recommendations.

    Parameters
    ----------
    recommended : array_like of int, shape (n_rows, n), or Judged
        As for `precision_at_k`.
    n_cols : int
        Number of columns that can be recommended.
    k : int
        Length of the lists that are counted, from 1 to n.

    Returns
    -------
    ndarray of int64, shape (n_cols,)
        The counts n_c. Those of two batches of rows add up to those of both. Those of a Judged are
        read-only.

    Raises
    ------
    InvalidInputError
        If a position, n_cols or k is out of range, or a row recommends a column twice.

    Examples
    --------
    >>> recommendation_counts([[0, 2], [2, -1]], n_cols=4, k=2).tolist()
    [1, 0, 2, 0]
    """
    check_whole(n_cols, "n_cols", 1)
    if isinstance(recommended, Judged):
        if n_cols != recommended.n_cols:
            raise InvalidInputError(
                f"n_cols is {n_cols}, but the judged table has {recommended.n_cols} columns"
            )
        return recommended.counts_within(k)
    lists = check_lists(recommended, n_cols, "there are")
    check_length(k, lists)
    return count_columns(lists[:, :k], n_cols)


def coverage(counts: ArrayLike) -> float:
    """Catalogue coverage: share of the columns that are recommended to a row at least.

        coverage = |{c: n_c > 0}| / n_cols

    ItemCoverage of RecBole; ``appeared_item`` of irspack is the numerator.

    Parameters
    ----------
    counts : array_like of int, shape (n_cols,)
        The result of `recommendation_counts`.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    InvalidInputError
        If counts are not non-negative integers of at least one column.

    References
    ----------
    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage
    and serendipity", RecSys 2010.

    Examples
    --------
    >>> coverage([1, 0, 2, 0])
    0.5
    """
    return float(np.mean(_check_counts(counts, "counts") > 0))


def novelty(counts: ArrayLike, col_counts: ArrayLike, n_train_rows: int) -> float:
    """Mean self-information of the recommendations, in bits: high if they are rare in training.

        novelty = sum_c n_c (-log2 p_c) / sum_c n_c
        p_c     = max(training rows with column c, 1) / training rows

    The mean runs over all recommendations. MeanInvUserFreq of RecTools is the same, with the same
    rule for columns without training rows, but takes the mean of each row first; both agree where
    all lists have equal length.

    Parameters
    ----------
    counts : array_like of int, shape (n_cols,)
        The result of `recommendation_counts`.
    col_counts : array_like of int, shape (n_cols,)
        Number of training rows that have each column.
    n_train_rows : int
        Number of training rows.

    Returns
    -------
    float
        From 0 to log2(n_train_rows).

    Raises
    ------
    InvalidInputError
        If shapes or numbers do not fit, or nothing is recommended.

    References
    ----------
    Vargas and Castells, "Rank and relevance in novelty and diversity metrics for recommender
    systems", RecSys 2011; Zhou et al., PNAS 107, 2010 (self-information).

    Examples
    --------
    >>> novelty([1, 0, 1], col_counts=[8, 4, 2], n_train_rows=8)
    1.0
    """
    counts, popularity = _check_counts(counts, "counts"), _check_counts(col_counts, "col_counts")
    check_whole(n_train_rows, "n_train_rows", 1)
    if popularity.shape != counts.shape:
        raise InvalidInputError(
            f"col_counts has {popularity.size} columns but counts has {counts.size}: "
            "count the same columns"
        )
    if popularity.max() > n_train_rows:
        raise InvalidInputError(
            f"col_counts[{popularity.argmax()}] is {popularity.max()}, more than the "
            f"{n_train_rows} training rows"
        )
    bits = np.log2(n_train_rows / np.maximum(popularity, 1))
    return float(counts @ bits / _total(counts))


def gini(counts: ArrayLike) -> float:
    """Gini index of how often columns are recommended: 0 if all equally often.

        gini = sum_{i=1..n} (2 i - n - 1) n_(i) / (n sum_i n_(i)),   n_(1) <= ... <= n_(n)

    Columns that are never recommended count. The largest value, if one column has all
    recommendations, is 1 - 1 / n. ``gini_index`` of irspack.

    Parameters
    ----------
    counts : array_like of int, shape (n_cols,)
        The result of `recommendation_counts`.

    Returns
    -------
    float
        From 0 to 1 - 1 / n_cols.

    Raises
    ------
    InvalidInputError
        If counts are not non-negative integers of at least one column, or nothing is recommended.

    References
    ----------
    Fleder and Hosanagar, "Blockbuster Culture's Next Rise or Fall: The Impact of Recommender
    Systems on Sales Diversity", Management Science 55, 2009.

    Examples
    --------
    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 5])
    (0.0, 0.75)
    """
    ordered = np.sort(_check_counts(counts, "counts")).astype(np.float64)
    n = ordered.size
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * _total(ordered)))


def _check_counts(counts: ArrayLike, name: str) -> NDArray[np.int64]:
    found = np.asarray(counts)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or found.min() < 0:
        raise InvalidInputError(
            f"{name} has shape {found.shape} and dtype {found.dtype}: it must have a whole number "
            ">= 0 for each column"
        )
    return found.astype(np.int64)


def _total(counts: NDArray[np.int64] | NDArray[np.float64]) -> float:
    total = float(counts.sum())
    if not total:
        raise InvalidInputError("counts are all 0: nothing is recommended, so no mean exists")
    return total
