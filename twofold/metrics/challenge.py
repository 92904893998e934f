"""The three metrics of the RecSys Challenge 2018 on the Million Playlist Dataset.

Rows are playlists, columns are tracks, and each list has k = 500 tracks.
"""

from typing import Any

from numpy.typing import ArrayLike

from twofold._common.checks import check_choice
from twofold.metrics import rows
from twofold.metrics.judged import Judged
from twofold.metrics.lists import judged_of, report
from twofold.metrics.rows import PerRow

__all__ = ["clicks_at_k", "mpd_ndcg_at_k", "mpd_r_precision"]


def mpd_r_precision(
    recommended: ArrayLike | Judged,
    relevant: Any,
    *,
    artists: ArrayLike,
    matches: str = "all",
    per_row: bool = False,
) -> float | PerRow:
    """R-precision of tracks, and a quarter for each artist in common.

        (|S_T in G_T| + 0.25 |S_A in G_A|) / |G_T|

    G_T are the held-out tracks H and S_T the first |H| recommended tracks; G_A are the artists of
    G_T, and S_A those of S_T (``matches="all"``, the printed formula) or of the misses in S_T only
    (``matches="missed"``, the program of the winning team). Each artist counts once. With the
    printed formula a perfect list scores above 1: up to 1.25.

    Parameters
    ----------
    recommended, relevant, per_row
        As for `precision_at_k`. Held-out tracks that are only counted (`n_relevant` of `judge`) add
        no artist.
    artists : array_like, shape (n_cols,)
        The artist of each column: numbers or texts.
    matches : {"all", "missed"}, default "all"
        Which recommended tracks give artists.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean, or the value of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `r_precision`, or if artists has another length or `matches` is unknown.

    References
    ----------
    Zamani, Schedl, Lamere and Chen, "An Analysis of Approaches Taken in the ACM RecSys Challenge
    2018 for Automatic Music Playlist Continuation", 2018, arXiv 1810.01520, section on evaluation.

    Examples
    --------
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array([[1, 1, 0, 0]])
    >>> mpd_r_precision([[0, 2]], relevant, artists=["a", "b", "b", "c"], matches="missed")
    0.625
    """
    check_choice(matches, "matches", ("all", "missed"))
    judged = judged_of(recommended, relevant)
    values = rows.mpd_r_precision(judged, artists=artists, matches=matches)
    return report(values, judged, per_row)


def mpd_ndcg_at_k(
    recommended: ArrayLike | Judged, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """NDCG as printed in the rules of the challenge.

        DCG  = hit_1 + sum_{j=2..k} hit_j / log2(j)
        IDCG = 1 + sum_{j=2..hits} 1 / log2(j),  hits = hit_1 + ... + hit_k
        NDCG = DCG / IDCG, 0 without hits

    It compares the list with the best order of its own hits, so that one hit at rank 1 gives 1. The
    evaluation program that was published for the challenge computes something else: `ndcg_at_k`
    with k = 500, the discount log2(j + 1) and the ideal of min(k, |H|).

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`; the challenge has k = 500.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean NDCG, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`.

    References
    ----------
    Chen, Lamere, Schedl and Zamani, "RecSys Challenge 2018: Automatic Music Playlist
    Continuation", RecSys 2018, and the rules of the challenge. The discount is that of Järvelin and
    Kekäläinen, ACM TOIS 2002.

    Examples
    --------
    >>> from scipy import sparse
    >>> mpd_ndcg_at_k([[2, 1, 3, 0]], sparse.csr_array([[1, 0, 0, 0, 1]]), k=4)
    0.5
    """
    judged = judged_of(recommended, relevant)
    return report(rows.mpd_ndcg(judged, k), judged, per_row)


def clicks_at_k(
    recommended: ArrayLike | Judged, relevant: Any, k: int, *, per_row: bool = False
) -> float | PerRow:
    """Recommended songs clicks: refreshes of a list of ten tracks until it has a hit.

        clicks = floor((min{j <= k: hit_j = 1} - 1) / 10), k / 10 + 1 without hits

    Smaller is better. The challenge has k = 500, so that a list without hits has 51.

    Parameters
    ----------
    recommended, relevant, k, per_row
        As for `precision_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (n_rows,)
        The mean number of clicks, or that of each row, as for `precision_at_k`.

    Raises
    ------
    InvalidInputError
        As for `precision_at_k`.

    References
    ----------
    Chen, Lamere, Schedl and Zamani, "RecSys Challenge 2018: Automatic Music Playlist
    Continuation", RecSys 2018.

    Examples
    --------
    >>> from scipy import sparse
    >>> relevant = sparse.csr_array(([1], ([0], [12])), shape=(1, 20))
    >>> clicks_at_k([range(20)], relevant, k=20)
    1.0
    """
    judged = judged_of(recommended, relevant)
    return report(rows.clicks(judged, k), judged, per_row)
