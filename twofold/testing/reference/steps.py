"""Solutions of rows, and epochs of ALS."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from twofold.objective import Objective
from twofold.testing.reference.formulas import (
    Float,
    entries,
    gradient,
    in_u,
    mean,
    scales,
    value,
)

__all__ = ["accelerated_epochs", "balanced", "fold_in", "half_step"]


def fold_in(
    objective: Objective, matrix: Any, Q: ArrayLike, weights: ArrayLike | None = None
) -> Float:
    """Return the rows that minimise a quadratic objective with L2, without biases and centers.

    A row is the least-squares solution of sqrt(c_k) q_k . p = b_k / sqrt(c_k) and
    sqrt(lam s_u) p = 0, which is more accurate than the normal equations. If a c_k is negative, the
    normal equations are solved.

    Parameters
    ----------
    objective : Objective
        An objective with `SquaredLoss` and `L2`.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries.
    Q : array_like, shape (n_cols, k)
        Column factors.
    weights : array_like, shape (n_entries,), optional
        As for `entries`.

    Returns
    -------
    ndarray, shape (n_rows, k)
        Zero for a row without entries.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> fold_in(objective, R, Q).round(3).tolist()
    [[1.667], [1.667]]
    """
    Q = np.asarray(Q, dtype=np.float64)
    n_rows, k = matrix.shape[0], Q.shape[1]
    curvature = objective.unobserved_weight * in_u(objective, matrix, weights)
    linear = np.zeros(matrix.shape)
    stored = np.zeros(n_rows, dtype=bool)
    for u, i, r, w in entries(objective, matrix, weights):
        curvature[u, i] += w
        linear[u, i] += w * r
        stored[u] = True
    ridge = objective.regularizer.weight * scales(objective, matrix, weights)[0]
    P = np.zeros((n_rows, k))
    for u in np.flatnonzero(stored).tolist():
        if np.all((curvature[u] > 0.0) | ((curvature[u] == 0.0) & (linear[u] == 0.0))):
            root = np.sqrt(curvature[u])
            rhs = np.divide(
                linear[u],
                root,
                out=np.zeros_like(root),
                where=root > 0.0,
            )
            system = np.vstack([root[:, None] * Q, np.sqrt(ridge[u]) * np.identity(k)])
            P[u] = np.linalg.lstsq(system, np.concatenate([rhs, np.zeros(k)]), rcond=None)[0]
        else:
            normal = (Q.T * curvature[u]) @ Q + ridge[u] * np.identity(k)
            P[u] = np.linalg.solve(normal, Q.T @ linear[u])
    return P


def half_step(
    objective: Objective,
    matrix: Any,
    P: ArrayLike,
    Q: ArrayLike,
    axis: str,
    weights: ArrayLike | None = None,
) -> Float:
    """Return the factors of one side that minimise a quadratic objective with L2.

    There may be biases and centers. The gradient of a row's part of the objective is affine in the
    unknowns. Its matrix is found by a step along each of them from the center of the penalty. A row
    without a unique solution has the one that is nearest to the center.

    Parameters
    ----------
    objective, matrix, P, Q, weights
        As for `value`; the factors of the other side are used, and the shape of these.
    axis : {"row", "col"}
        The side that is solved.

    Returns
    -------
    ndarray, shape (n_rows, k) or (n_cols, k)

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> half_step(objective, R, P, Q, "row").round(3).tolist()
    [[1.667], [1.667]]
    """
    factors = [np.array(P, dtype=np.float64), np.array(Q, dtype=np.float64)]
    side = ("row", "col").index(axis)
    own, k = factors[side], factors[side].shape[1]
    free, center = [*range(k)], np.zeros(own.shape)
    if objective.biases:
        fixed = free.pop(k - 1 if axis == "row" else k - 2)
        center[:, fixed] = 1.0
        center[:, k - 1] = mean(objective, matrix, weights) if axis == "col" else 1.0
    centers = objective.regularizer.centers[side]
    if centers is not None:
        center[:, : centers.values.shape[1]] = centers.values

    def slopes(step: Float) -> Float:
        own[:] = center + step
        return gradient(objective, matrix, factors[0], factors[1], weights)[side][:, free]

    constant = slopes(np.zeros(k))
    matrices = np.stack([slopes(unit) - constant for unit in np.identity(k)[free]], axis=2)
    own[:] = center
    own[:, free] -= (np.linalg.pinv(matrices, hermitian=True) @ constant[:, :, None])[:, :, 0]
    return own


def balanced(objective: Objective, matrix: Any, P: ArrayLike, Q: ArrayLike) -> tuple[Float, Float]:
    """Return factors with the product P Q' and the least L2 penalty, from its decomposition.

    With S the diagonal matrices of s_u and s_i, and U D V' the singular value decomposition of
    S_row^1/2 P Q' S_col^1/2, they are S_row^-1/2 U D^1/2 and S_col^-1/2 V D^1/2 (Mazumder, Hastie &
    Tibshirani 2010, lemma 6), turned so that Q is multiplied by a lower triangle with a positive
    diagonal.

    Parameters
    ----------
    objective : Objective
        An objective with `L2`, without biases and centers, and with s > 0.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries.
    P, Q : array_like, shape (n_rows, k) and (n_cols, k)
        Factors of rank k.

    Returns
    -------
    tuple of ndarray, shape (n_rows, k) and (n_cols, k)

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> new_P, new_Q = balanced(objective, R, P, Q)
    >>> bool(np.allclose(new_P @ new_Q.T, P @ Q.T))
    True
    >>> bool(np.isclose(np.sum(new_P**2), np.sum(new_Q**2)))
    True
    """
    P, Q = np.asarray(P, dtype=np.float64), np.asarray(Q, dtype=np.float64)
    rows, cols = (np.sqrt(each)[:, np.newaxis] for each in scales(objective, matrix))
    U, D, Vt = np.linalg.svd((rows * P) @ (cols * Q).T, full_matrices=False)
    k = P.shape[1]
    roots = np.sqrt(D[:k])
    P_new, Q_new = U[:, :k] * roots / rows, Vt[:k].T * roots / cols
    # Q_new = Q R' W' for an upper triangle R and an orthogonal W.
    W, R = np.linalg.qr(np.linalg.lstsq(Q, Q_new, rcond=None)[0].T)
    turn = W * np.sign(np.diag(R))
    return P_new @ turn, Q_new @ turn


def accelerated_epochs(
    objective: Objective,
    matrix: Any,
    P: ArrayLike,
    Q: ArrayLike,
    epochs: int,
    weights: ArrayLike | None = None,
    *,
    calm: float = 0.1,
    ridge: float = 1e-5,
) -> tuple[Float, Float, list[str]]:
    """Return the factors after epochs of exact half-steps with Nesterov's extrapolation.

    An epoch starts from Y = Q + beta (Q - Q_previous), beta = (t - 1) / t'. Then t is t', or 1 if
    <Y - Q_new, Q_new - Q> > 0. There are two rules more than in the paper: an epoch that increases
    the objective is repeated from Y = Q with t = 1, and t is 1 after a relative decrease above
    ``calm``. In epochs with beta = 0, the factors are balanced after the rows are solved, without
    centers.

    Parameters
    ----------
    objective, matrix, P, Q, weights
        As for `value`; a quadratic objective with L2.
    epochs : int
        Number of epochs.
    calm : float, default 0.1
        Largest relative decrease of an epoch before one with beta > 0.
    ridge : float, default 1e-5
        Ridge of the Gramians that are balanced, relative to the means of their diagonals.

    Returns
    -------
    tuple
        P, Q and the kind of each epoch: "plain", "extrapolated", "turned" for one that is followed
        by a restart, or "repeated" for one that increased the objective.

    References
    ----------
    Mitchell, Ye and De Sterck, "Nesterov acceleration of alternating least squares for canonical
    tensor decomposition", 2020, arXiv 1810.05846, algorithm 2.
    """
    P, Q = np.array(P, dtype=np.float64), np.array(Q, dtype=np.float64)
    before, t, total = Q, 0.0, value(objective, matrix, P, Q, weights)["total"]
    kinds = []

    def epoch(start: Float, is_balanced: bool) -> tuple[Float, Float, Float, float]:
        rows = half_step(objective, matrix, P, start, "row", weights)
        if is_balanced and not objective.has_centers:
            rows, start = _balanced(objective, matrix, rows, start, ridge, weights)
        cols = half_step(objective, matrix, rows, start, "col", weights)
        return start, rows, cols, value(objective, matrix, rows, cols, weights)["total"]

    for _ in range(epochs):
        next_t = (1.0 + np.sqrt(1.0 + 4.0 * t * t)) / 2.0
        beta = max((t - 1.0) / next_t, 0.0)
        kind = "extrapolated" if beta else "plain"
        Y, rows, cols, new_total = epoch(Q + beta * (Q - before), beta == 0.0)
        if beta and not new_total <= total:
            kind, beta, next_t = "repeated", 0.0, (1.0 + np.sqrt(5.0)) / 2.0
            Y, rows, cols, new_total = epoch(Q, True)
        before = Q if beta else Y
        turns = beta > 0.0 and np.sum((Y - cols) * (cols - before)) > 0.0
        t = 1.0 if turns or total - new_total > calm * abs(new_total) else next_t
        P, Q, total = rows, cols, new_total
        kinds.append("turned" if turns else kind)
    return P, Q, kinds


def _balanced(
    objective: Objective,
    matrix: Any,
    P: Float,
    Q: Float,
    ridge: float,
    weights: ArrayLike | None = None,
) -> tuple[Float, Float]:
    """Return P T^-1' and Q T, where G = T T' solves G C G = A for the Gramians A and C."""
    k = P.shape[1] - objective.n_bias_columns
    grams = []
    for factors, scale in zip((P, Q), scales(objective, matrix, weights), strict=True):
        gram = (factors[:, :k].T * scale) @ factors[:, :k]
        grams.append(gram + ridge * np.trace(gram) / k * np.identity(k))
    A, C = grams
    G = np.linalg.solve(C, linalg.sqrtm(C @ A)).real
    T = np.linalg.cholesky((G + G.T) / 2.0)
    P, Q = P.copy(), Q.copy()
    P[:, :k], Q[:, :k] = P[:, :k] @ np.linalg.inv(T).T, Q[:, :k] @ T
    return P, Q
