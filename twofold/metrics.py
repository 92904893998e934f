"""Quality of ranked recommendations against held-out pairs.

Notation of the formulas, for one row: L_1, L_2, ... are its recommended columns, best first, H is
the set of its relevant (held-out) columns, and hit_j is 1 if L_j is in H and 0 otherwise.

A row without relevant columns has no score: it is NaN with `per_row=True`, and is left out of the
mean. A missing recommendation (-1) is a miss.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.checks import check_whole
from twofold.exceptions import InvalidInputError

__all__ = ["ndcg_at_k", "precision_at_k", "r_precision", "recall_at_k"]

PerRow = NDArray[np.float64]


def precision_at_k(
    recommended: ArrayLike, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """Share of the first k recommendations that are relevant.

        precision@k = (hit_1 + ... + hit_k) / k

    Parameters
    ----------
    recommended : array_like of int, shape (n_rows, n)
        Positions of the recommended columns, best first, each at most once in a row; -1 where
        there is no recommendation.
    relevant : scipy sparse matrix or array, shape (n_rows, n_cols)
        The held-out pairs. Every stored entry counts; its value does not matter.
    k : int
        Length of the list that is judged, from 1 to n.
    per_row : bool, default False
        Whether to return the score of each row instead of the mean.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean over the rows that have a relevant column; or all rows, NaN where there is none.

    Raises
    ------
    InvalidInputError
        If shapes do not fit, a position or k is out of range, a row recommends a column twice, or
        there is nothing to take a mean of.

    Examples
    --------
    >>> relevant = sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]])
    >>> precision_at_k([[0, 2], [3, 1]], relevant, k=2)
    0.5
    """
    hits, n_relevant = _judge_first(k, recommended, relevant)
    return _report(hits.sum(axis=1) / k, n_relevant, per_row)


def recall_at_k(
    recommended: ArrayLike,
    relevant: Any,
    k: int,
    *,
    truncated: bool = False,
    per_row: bool = False,
) -> float | PerRow:
    """Share of the relevant columns that are among the first k recommendations.

        recall@k = (hit_1 + ... + hit_k) / |H|               truncated=False
        recall@k = (hit_1 + ... + hit_k) / min(k, |H|)       truncated=True

    The truncated form, whose best value is 1 for every row, is the Recall@k of Liang et al. (2018)
    and of the tables in Rendle et al. (2021).

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.
    truncated : bool, default False
        Whether to divide by min(k, |H|) instead of |H|.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean recall, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`.

    References
    ----------
    Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative Filtering",
    WWW 2018, section 4.2.
    Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", 2021, arXiv 2110.14037.

    Examples
    --------
    >>> relevant = sparse.csr_array([[1, 0, 1, 1]])
    >>> recall_at_k([[0, 1, 2]], relevant, k=1, truncated=True)
    1.0
    """
    hits, n_relevant = _judge_first(k, recommended, relevant)
    n_possible = np.minimum(n_relevant, k) if truncated else n_relevant
    return _report(hits.sum(axis=1) / np.maximum(n_possible, 1), n_relevant, per_row)


def ndcg_at_k(
    recommended: ArrayLike, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """Normalised discounted cumulative gain: hits near the top count more.

        DCG@k  = sum_{j=1..k}            hit_j / log2(j + 1)
        IDCG@k = sum_{j=1..min(k, |H|)}      1 / log2(j + 1)
        NDCG@k = DCG@k / IDCG@k

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean NDCG, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k` of the same lists.

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002,
    with binary gains and the discount of Burges et al., ICML 2005.

    Examples
    --------
    >>> relevant = sparse.csr_array([[1, 0, 0, 0]])
    >>> ndcg_at_k([[2, 1, 0]], relevant, k=3)
    0.5
    """
    hits, n_relevant = _judge_first(k, recommended, relevant)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gain = np.where(hits, discounts, 0.0).sum(axis=1)
    ideal = np.cumsum(discounts)[np.clip(n_relevant, 1, k) - 1]
    return _report(gain / ideal, n_relevant, per_row)


def r_precision(recommended: ArrayLike, relevant: Any, *, per_row: bool = False) -> float | PerRow:
    """Precision, and recall, at the length where a perfect list would be exactly complete.

        R-precision = (hit_1 + ... + hit_|H|) / |H|

    Parameters
    ----------
    recommended, relevant, per_row
        As for `precision_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean R-precision, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        If shapes do not fit, a position is out of range, a row recommends a column twice or has
        more relevant columns than recommendations, or there is nothing to take a mean of.

    References
    ----------
    Chen, Lamere, Schedl and Zamani, "RecSys Challenge 2018: Automatic Music Playlist
    Continuation", RecSys 2018: the track part of its R-precision.

    Examples
    --------
    >>> relevant = sparse.csr_array([[1, 1, 0, 0]])
    >>> r_precision([[0, 3, 1]], relevant)
    0.5
    """
    hits, n_relevant = _judge(_check_lists(recommended, relevant), relevant)
    n = hits.shape[1]
    too_long = np.flatnonzero(n_relevant > n)
    if too_long.size:
        raise InvalidInputError(
            f"row {too_long[0]} has {n_relevant[too_long[0]]} relevant columns, but recommended "
            f"holds only {n} for each row: R-precision needs at least {n_relevant.max()}"
        )
    n_hits = (hits & (np.arange(n) < n_relevant[:, None])).sum(axis=1)
    return _report(n_hits / np.maximum(n_relevant, 1), n_relevant, per_row)


def _judge_first(
    k: int, recommended: ArrayLike, relevant: Any
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Check the input; return which of the first k columns hit, and |H| of each row."""
    lists = _check_lists(recommended, relevant)
    check_whole(k, "k", 1)
    if k > lists.shape[1]:
        raise InvalidInputError(
            f"k is {k}, but recommended holds only {lists.shape[1]} columns for each row: "
            "recommend more or use a smaller k"
        )
    return _judge(lists[:, :k], relevant)


def _judge(lists: NDArray[np.int64], relevant: Any) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which columns of the lists hit, and |H| of each row."""
    n_rows, n_cols = relevant.shape
    entries = sparse.csr_array(relevant, copy=True)
    entries.sum_duplicates()
    n_relevant = np.diff(entries.indptr).astype(np.int64)

    # A pair (row, column) as one number: row * n_cols + column.
    row_starts = np.arange(n_rows) * n_cols
    pairs = np.repeat(row_starts, n_relevant) + entries.indices
    listed = row_starts[:, None] + lists
    nearest = np.append(pairs, -1)[np.searchsorted(pairs, listed)]
    return (nearest == listed) & (lists >= 0), n_relevant


def _check_lists(recommended: ArrayLike, relevant: Any) -> NDArray[np.int64]:
    """Return the lists as int64, or say what is wrong with them."""
    lists = np.asarray(recommended)
    if lists.ndim != 2 or lists.dtype.kind not in "iu":
        raise InvalidInputError(
            f"recommended has {lists.ndim} dimensions and dtype {lists.dtype}: it must be a "
            "(n_rows, n) array of integer column positions"
        )
    if not sparse.issparse(relevant):
        raise InvalidInputError(
            f"relevant is of type {type(relevant).__name__}: it must be a scipy sparse matrix or "
            "array"
        )
    n_rows, n_cols = relevant.shape
    if lists.shape[0] != n_rows:
        raise InvalidInputError(
            f"recommended has {lists.shape[0]} rows but relevant has {n_rows}: "
            "give one list for each row"
        )
    outside = np.argwhere((lists < -1) | (lists >= n_cols))
    if outside.size:
        row, place = outside[0]
        raise InvalidInputError(
            f"recommended[{row}, {place}] is {lists[row, place]}, but relevant has {n_cols} "
            f"columns: a position goes from 0 to {n_cols - 1}, or is -1 for none"
        )
    lists = lists.astype(np.int64, copy=False)
    ordered = np.sort(lists, axis=1)
    repeated = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if repeated.size:
        row, place = repeated[0]
        raise InvalidInputError(
            f"row {row} of recommended holds column {ordered[row, place]} more than once: "
            "recommend each column at most once"
        )
    return lists


def _report(scores: PerRow, n_relevant: NDArray[np.int64], per_row: bool) -> float | PerRow:
    """Return the scores with NaN for rows without relevant columns, or the mean of the others."""
    scored = n_relevant > 0
    if per_row:
        return np.where(scored, scores, np.nan)
    if not scored.any():
        raise InvalidInputError("relevant is empty: no row has a column to find, so no mean exists")
    return float(scores[scored].mean())
