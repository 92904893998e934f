"""The values of rows: arrays of a judged table in, one number for each row out.

A row without relevant columns gets a number without meaning, which `with_nan` replaces. Sums run
over the hits of a row in the order of ranks, so that a value does not depend on other rows. The
formulas are in the docstrings of `twofold.metrics.lists` and `twofold.metrics.challenge`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import Judged, find_stored

__all__ = [
    "PerRow", "average_precision", "clicks", "hit_rate", "mpd_ndcg", "mpd_r_precision", "ndcg",
    "precision", "r_precision", "recall", "reciprocal_rank", "with_nan",
]  # fmt: skip

PerRow = NDArray[np.float64]


def with_nan(values: PerRow, judged: Judged) -> PerRow:
    """Return the values with NaN for rows without relevant columns."""
    return np.where(judged.n_relevant > 0, values, np.nan)


def precision(judged: Judged, k: int) -> PerRow:
    """Return hits / k."""
    return _n_hits(judged, k) / k


def recall(judged: Judged, k: int, *, truncated: bool = False) -> PerRow:
    """Return hits / |H|, or hits / min(k, |H|)."""
    return _n_hits(judged, k) / (_achievable(judged, k) if truncated else _at_least_1(judged))


def ndcg(judged: Judged, k: int, *, ideal: str = "min") -> PerRow:
    """Return DCG / IDCG of the best list for min(k, |H|), or for k."""
    rows, ranks = judged.hits_within(k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gain = np.bincount(rows, discounts[ranks - 1], judged.n_rows)
    best = np.cumsum(discounts)
    return gain / (best[-1] if ideal == "k" else best[_achievable(judged, k) - 1])


def average_precision(judged: Judged, k: int, *, divisor: str = "relevant") -> PerRow:
    """Return the sum of P_j over the hits, divided by |H|, min(k, |H|) or hits."""
    rows, ranks = judged.hits_within(k)
    counts = np.bincount(rows, minlength=judged.n_rows)
    number_in_row = np.arange(1, rows.size + 1) - (np.cumsum(counts) - counts)[rows]
    total = np.bincount(rows, number_in_row / ranks, judged.n_rows)
    if divisor == "hits":
        return total / np.maximum(counts, 1)
    return total / (_at_least_1(judged) if divisor == "relevant" else _achievable(judged, k))


def reciprocal_rank(judged: Judged, k: int) -> PerRow:
    """Return 1 / the rank of the first hit, 0 without hits."""
    rows, ranks = _first_hits(judged, k)
    values = np.zeros(judged.n_rows)
    values[rows] = 1 / ranks
    return values


def hit_rate(judged: Judged, k: int) -> PerRow:
    """Return 1 for rows with a hit, 0 for others."""
    return (_n_hits(judged, k) > 0).astype(np.float64)


def r_precision(judged: Judged) -> PerRow:
    """Return the hits among the first |H|, divided by |H|."""
    n, n_relevant = judged.hits.shape[1], judged.n_relevant
    too_long = np.flatnonzero(n_relevant > n)
    if too_long.size:
        raise InvalidInputError(
            f"row {too_long[0]} has {n_relevant[too_long[0]]} relevant columns, but recommended "
            f"holds only {n} for each row: R-precision needs at least {n_relevant.max()}"
        )
    rows, ranks = judged.hits_within(n)
    found = rows[ranks <= n_relevant[rows]]
    return np.bincount(found, minlength=judged.n_rows) / _at_least_1(judged)


def mpd_r_precision(judged: Judged, *, artists: ArrayLike, matches: str = "all") -> PerRow:
    """Return R-precision with 0.25 for each artist in common."""
    tracks = r_precision(judged)  # also checks the length of the lists
    labels = np.asarray(artists)
    if labels.shape != (judged.n_cols,):
        raise InvalidInputError(
            f"artists has shape {labels.shape}: it must have one artist for each of the "
            f"{judged.n_cols} columns"
        )
    names, codes = np.unique(labels, return_inverse=True)
    n = int(judged.n_relevant.max(initial=0))
    lists = judged.recommended[:, :n]
    listed = (lists >= 0) & (np.arange(n) < judged.n_relevant[:, None])
    if matches == "missed":
        listed &= ~judged.hits[:, :n]
    suggested = np.where(listed, codes[lists], -1)
    pairs = judged.relevant
    shape = (judged.n_rows, names.size)
    wanted = sparse.csr_array((pairs.data, codes[pairs.indices], pairs.indptr), shape=shape)
    rows, places = np.nonzero(find_stored(suggested, wanted))
    # A pair (row, artist) as one number.
    common = np.unique(rows * names.size + suggested[rows, places]) // max(names.size, 1)
    n_common = np.bincount(common, minlength=judged.n_rows)
    return tracks + 0.25 * n_common / _at_least_1(judged)


def mpd_ndcg(judged: Judged, k: int) -> PerRow:
    """Return NDCG with the discount log2(j), against the best order of the list's hits."""
    rows, ranks = judged.hits_within(k)
    discounts = 1 / np.maximum(np.log2(np.arange(1, k + 1)), 1)
    gain = np.bincount(rows, discounts[ranks - 1], judged.n_rows)
    n_hits = np.maximum(_n_hits(judged, k), 1)
    ideal: PerRow = np.cumsum(discounts)[n_hits - 1]
    return gain / ideal


def clicks(judged: Judged, k: int) -> PerRow:
    """Return floor((first - 1) / 10), k / 10 + 1 without hits."""
    rows, ranks = _first_hits(judged, k)
    values = np.full(judged.n_rows, k / 10 + 1)
    values[rows] = (ranks - 1) // 10
    return values


def _n_hits(judged: Judged, k: int) -> NDArray[np.int64]:
    return np.bincount(judged.hits_within(k)[0], minlength=judged.n_rows)


def _first_hits(judged: Judged, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows with a hit, and the rank of its first."""
    rows, ranks = judged.hits_within(k)
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], ranks[first]


def _at_least_1(judged: Judged) -> NDArray[np.int64]:
    return np.maximum(judged.n_relevant, 1)


def _achievable(judged: Judged, k: int) -> NDArray[np.int64]:
    """Return min(k, |H|), 1 where H is empty."""
    return np.clip(judged.n_relevant, 1, k)
