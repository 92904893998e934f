"""Quality of ranked lists against held-out pairs.

The notation is that of `twofold.metrics`. What is said of implicit, lenskit, RecTools, RecBole,
irspack and recommenders was read in their source; the tests compare with trec_eval, whose measures
have their names in ir-measures here.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twofold._common.checks import check_choice
from twofold.exceptions import InvalidInputError
from twofold.metrics import rows
from twofold.metrics.judged import Judged, judge
from twofold.metrics.rows import PerRow, with_nan

__all__ = [
    "average_precision_at_k", "hit_rate_at_k", "ndcg_at_k", "precision_at_k", "r_precision",
    "recall_at_k", "reciprocal_rank_at_k",
]  # fmt: skip


def precision_at_k(
    recommended: ArrayLike | Judged, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """Share of the first k recommendations that are relevant.

        precision@k = (hit_1 + ... + hit_k) / k

    P@k of trec_eval. lenskit divides by the length of the list where that is below k. What implicit
    calls precision is none: all hits of all rows / the sum of min(k, |H|) over all rows.

    Parameters
    ----------
    recommended : array_like of int, shape (n_rows, n), or Judged
        Positions of the recommended columns, best first, each at most once in a row; -1 where
        there is no recommendation. Or the result of `judge`.
    relevant : scipy sparse matrix or array, shape (n_rows, n_cols), or None
        The held-out pairs. Every stored entry counts; its value does not matter. None if
        `recommended` is a Judged.
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
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]])
    >>> precision_at_k([[0, 2], [3, 1]], relevant, k=2)
    0.5
    """
    judged = judged_of(recommended, relevant)
    return report(rows.precision(judged, k), judged, per_row)


def recall_at_k(
    recommended: ArrayLike | Judged,
    relevant: Any,
    k: int,
    *,
    truncated: bool = False,
    per_row: bool = False,
) -> float | PerRow:
    """Share of the relevant columns that are among the first k recommendations.

        recall@k = (hit_1 + ... + hit_k) / |H|               truncated=False
        recall@k = (hit_1 + ... + hit_k) / min(k, |H|)       truncated=True

    The first is R@k of trec_eval and the recall of RecBole, recommenders and irspack; the second,
    whose best value is 1 for every row, the Recall@k of Liang et al. (2018) and of the tables in
    Rendle et al. (2021), the recall of lenskit, and of irspack with ``recall_with_cutoff=True``.

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
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 0, 1, 1]])
    >>> recall_at_k([[0, 1, 2]], relevant, k=1, truncated=True)
    1.0
    """
    judged = judged_of(recommended, relevant)
    return report(rows.recall(judged, k, truncated=truncated), judged, per_row)


def ndcg_at_k(
    recommended: ArrayLike | Judged,
    relevant: Any,
    k: int,
    *,
    ideal: str = "min",
    per_row: bool = False,
) -> float | PerRow:
    """Normalised discounted cumulative gain: hits near the top count more.

        DCG@k  = sum_{j=1..k}            hit_j / log2(j + 1)
        IDCG@k = sum_{j=1..min(k, |H|)}      1 / log2(j + 1)       ideal="min"
        IDCG@k = sum_{j=1..k}                1 / log2(j + 1)       ideal="k"
        NDCG@k = DCG@k / IDCG@k

    The first is nDCG@k of trec_eval and the NDCG of implicit, RecBole, irspack, recommenders and of
    the evaluation program of the RecSys Challenge 2018 (k = 500). The second, which is below 1 for
    every row with fewer than k relevant columns, is that of RecTools unless
    ``divide_by_achievable=True``. lenskit has the first ideal, but by default the older discount
    max(log2(j), 1), with equal weights of ranks 1 and 2.

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.
    ideal : {"min", "k"}, default "min"
        The best list: min(k, |H|) hits, or k hits.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean NDCG, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k` of the same lists, or if `ideal` is unknown.

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002,
    with binary gains and the discount of Burges et al., ICML 2005.

    Examples
    --------
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 0, 0, 0]])
    >>> ndcg_at_k([[2, 1, 0]], relevant, k=3)
    0.5
    """
    check_choice(ideal, "ideal", ("min", "k"))
    judged = judged_of(recommended, relevant)
    return report(rows.ndcg(judged, k, ideal=ideal), judged, per_row)


def average_precision_at_k(
    recommended: ArrayLike | Judged,
    relevant: Any,
    k: int,
    *,
    divisor: str = "relevant",
    per_row: bool = False,
) -> float | PerRow:
    """Precision at the ranks of the hits, averaged; its mean over rows is MAP@k.

        P_j  = (hit_1 + ... + hit_j) / j
        AP@k = (hit_1 P_1 + ... + hit_k P_k) / |H|                        divisor="relevant"
        AP@k = (hit_1 P_1 + ... + hit_k P_k) / min(k, |H|)                divisor="min"
        AP@k = (hit_1 P_1 + ... + hit_k P_k) / (hit_1 + ... + hit_k)      divisor="hits"

    The first is AP@k of trec_eval, the MAP of irspack and by default of RecTools, and ``map`` of
    recommenders; the second the MAP of implicit and RecBole, ``map_at_k`` of recommenders and, with
    lists of k columns, that of lenskit. The third, 0 without hits, is in many scripts: one hit at
    rank 1 gives 1, however many columns are missed.

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.
    divisor : {"relevant", "min", "hits"}, default "relevant"
        What the sum is divided by: |H|, min(k, |H|), or the number of hits.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean (MAP@k), or the average precision of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`, or if `divisor` is unknown.

    References
    ----------
    Buckley and Voorhees, "Retrieval System Evaluation", in TREC: Experiment and Evaluation in
    Information Retrieval, 2005.

    Examples
    --------
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 0, 0, 1]])
    >>> average_precision_at_k([[0, 1, 2]], relevant, k=3)
    0.5
    """
    check_choice(divisor, "divisor", ("relevant", "min", "hits"))
    judged = judged_of(recommended, relevant)
    return report(rows.average_precision(judged, k, divisor=divisor), judged, per_row)


def reciprocal_rank_at_k(
    recommended: ArrayLike | Judged, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """One divided by the rank of the first hit; its mean over rows is MRR@k.

        RR@k = 1 / min{j <= k: hit_j = 1}, 0 without hits

    RR@k of ir-measures and the MRR of RecBole.

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean (MRR@k), or the reciprocal rank of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`.

    References
    ----------
    Voorhees, "The TREC-8 Question Answering Track Report", TREC-8, 1999.

    Examples
    --------
    >>> from scipy import sparse
    >>> reciprocal_rank_at_k([[2, 1, 0]], sparse.csr_array([[0, 1, 0]]), k=3)
    0.5
    """
    judged = judged_of(recommended, relevant)
    return report(rows.reciprocal_rank(judged, k), judged, per_row)


def hit_rate_at_k(
    recommended: ArrayLike | Judged, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """Share of the rows with a hit among the first k recommendations.

        hit rate@k = 1 if hit_1 + ... + hit_k > 0, else 0

    Success@k of ir-measures, the Hit of RecBole and the hit of irspack.

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The share, or 1 or 0 for each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`.

    Examples
    --------
    >>> from scipy import sparse
    >>> hit_rate_at_k([[2, 1], [0, 2]], sparse.csr_array([[0, 1, 0], [0, 1, 0]]), k=2)
    0.5
    """
    judged = judged_of(recommended, relevant)
    return report(rows.hit_rate(judged, k), judged, per_row)


def r_precision(
    recommended: ArrayLike | Judged, relevant: Any, *, per_row: bool = False
) -> float | PerRow:
    """Precision, and recall, at the length where a perfect list would be exactly complete.

        R-precision = (hit_1 + ... + hit_|H|) / |H|

    Rprec of trec_eval, and the track part of `mpd_r_precision`.

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
    Buckley and Voorhees, "Retrieval System Evaluation", in TREC: Experiment and Evaluation in
    Information Retrieval, 2005.

    Examples
    --------
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 1, 0, 0]])
    >>> r_precision([[0, 3, 1]], relevant)
    0.5
    """
    judged = judged_of(recommended, relevant)
    return report(rows.r_precision(judged), judged, per_row)


def judged_of(recommended: ArrayLike | Judged, relevant: Any) -> Judged:
    """Return the judged table of lists, or the table that was given."""
    if not isinstance(recommended, Judged):
        return judge(recommended, relevant)
    if relevant is not None:
        raise InvalidInputError(
            "recommended is a Judged, which contains its relevant columns: give None for relevant"
        )
    return recommended


def report(values: PerRow, judged: Judged, per_row: bool) -> float | PerRow:
    """Return the values with NaN for rows without relevant columns, or the mean of the others."""
    values = with_nan(values, judged)
    return values if per_row else mean_of(values)


def mean_of(values: PerRow) -> float:
    """Return the mean of the values that are not NaN."""
    scored = values[~np.isnan(values)]
    if not scored.size:
        raise InvalidInputError("relevant is empty: no row has a column to find, so no mean exists")
    return float(scored.mean())
