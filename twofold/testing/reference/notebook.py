"""The training and fold-in of the research notebook."""

import numpy as np
from numpy.typing import ArrayLike

from twofold.testing.reference.formulas import Float

__all__ = ["notebook_epochs", "notebook_fold_in"]


def notebook_epochs(
    pairs: ArrayLike, P: ArrayLike, Q: ArrayLike, alpha: float, lam: float, iterations: int
) -> tuple[Float, Float]:
    """Return the factors of the notebook's gradient descent: full-batch steps for targets of 1.

    In each iteration, every pair (u, i) adds -alpha (e q_i + lam p_u) to p_u and
    -alpha (e p_u + lam q_i) to q_i, with e = p_u . q_i - 1 from the old factors.

    Parameters
    ----------
    pairs : array_like of int, shape (n_pairs, 2)
        Row and column of each pair.
    P, Q : array_like, shape (n_rows, k) and (n_cols, k)
        Initial factors.
    alpha, lam : float
        Step size and penalty.
    iterations : int
        Number of steps.

    Returns
    -------
    tuple of ndarray, shape (n_rows, k) and (n_cols, k)

    Examples
    --------
    >>> P, Q = notebook_epochs([[0, 0], [0, 1]], [[0.5]], [[0.5], [0.5]], 0.1, 0.01, iterations=1)
    >>> P.round(4).tolist(), Q.round(4).tolist()
    ([[0.574]], [[0.537], [0.537]])
    """
    P, Q = np.array(P, dtype=np.float64), np.array(Q, dtype=np.float64)
    rows, cols = np.asarray(pairs).T
    for _ in range(iterations):
        error = np.sum(P[rows] * Q[cols], axis=1, keepdims=True) - 1.0
        dP, dQ = np.zeros_like(P), np.zeros_like(Q)
        np.add.at(dP, rows, error * Q[cols] + lam * P[rows])
        np.add.at(dQ, cols, error * P[rows] + lam * Q[cols])
        P, Q = P - alpha * dP, Q - alpha * dQ
    return P, Q


def notebook_fold_in(cols: ArrayLike, Q: ArrayLike, lam: float) -> Float:
    """Return the notebook's factors of a new row: (Y'Y + lam I)^-1 Y' 1, with Y the rows of Q.

    Parameters
    ----------
    cols : array_like of int, shape (d,)
        Columns of the row, including repeated ones.
    Q : array_like, shape (n_cols, k)
        Column factors.
    lam : float
        Penalty.

    Returns
    -------
    ndarray, shape (k,)

    Examples
    --------
    >>> notebook_fold_in([0, 1], [[1.0], [0.5], [2.0]], lam=0.25).tolist()
    [1.0]
    """
    Y = np.asarray(Q, dtype=np.float64)[np.asarray(cols, dtype=np.int64)]
    inverse = np.linalg.inv(Y.T @ Y + lam * np.identity(Y.shape[1]))
    vector: Float = inverse @ Y.T @ np.ones(len(Y))
    return vector
