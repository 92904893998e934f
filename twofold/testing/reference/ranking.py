"""The best columns of rows, by a full sort."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.testing.reference.formulas import Float

__all__ = ["top_columns"]


def top_columns(
    P: ArrayLike, Q: ArrayLike, n: int, candidates: ArrayLike | None = None
) -> tuple[NDArray[np.int64], Float]:
    """Return the n columns with the largest p . q for each row, equal ones by position.

    Parameters
    ----------
    P, Q : array_like, shape (n_rows, k) and (n_cols, k)
        Factors.
    n : int
        Columns for each row, >= 1.
    candidates : array_like of bool, shape (n_rows, n_cols), optional
        Which columns can be among those of a row; default all. A score that is nan or -inf never
        is.

    Returns
    -------
    tuple of ndarray, shape (n_rows, n)
        Positions and scores, best first; -1 and nan where there are no more.

    Examples
    --------
    >>> top_columns([[1.0]], [[1.0], [2.0], [1.0]], 2)
    (array([[1, 0]]), array([[2., 1.]]))
    """
    P, Q = np.asarray(P, np.float64), np.asarray(Q, np.float64)
    positions, scores = np.full((len(P), n), -1), np.full((len(P), n), np.nan)
    for u, p in enumerate(P):
        row = [float(p @ q) for q in Q]
        can = np.ones(len(Q), bool) if candidates is None else np.asarray(candidates)[u]
        ranked = sorted((-x, i) for i, x in enumerate(row) if can[i] and x > -np.inf)
        for place, (negative, i) in enumerate(ranked[:n]):
            positions[u, place], scores[u, place] = i, -negative
    return positions, scores
