"""Reference implementation of the formulas in float64 numpy, slow and simple, for tests.

It does not use the kernels. It shares only the elementwise formulas of losses and regularisers with
the solvers, which `check_loss` and `check_regularizer` test.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse

from twofold.objective import Objective

__all__ = [
    "balanced",
    "entries",
    "fold_in",
    "gradient",
    "half_step",
    "mean",
    "notebook_epochs",
    "notebook_fold_in",
    "scales",
    "top_columns",
    "value",
]

Float = NDArray[np.float64]


def entries(
    objective: Objective, matrix: Any, weights: ArrayLike | None = None
) -> Iterator[tuple[int, int, float, float]]:
    """Yield (u, i, r, w) for every stored entry with a weight > 0, without summing repeated ones.

    Parameters
    ----------
    objective : Objective
        The objective, whose ``data`` determines the targets and weights.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries in CSR or COO format.
    weights : array_like, shape (n_entries,), optional
        Factors of the weights, in the order of the entries; default 1.

    Yields
    ------
    tuple of int, int, float and float
        Row, column, target and weight.

    Examples
    --------
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> list(entries(Objective(), R))
    [(0, 0, 1.0, 1.0), (0, 1, 1.0, 1.0), (1, 1, 1.0, 1.0), (1, 2, 1.0, 1.0)]
    """
    coo = matrix.tocoo() if sparse.issparse(matrix) else sparse.coo_array(matrix)
    data: str = objective.data
    factors = np.ones(coo.nnz) if weights is None else np.asarray(weights, dtype=np.float64)
    for u, i, stored, factor in zip(
        coo.row.tolist(),
        coo.col.tolist(),
        coo.data.tolist(),
        factors.tolist(),
        strict=True,
    ):
        target = {"targets": stored, "signed": float(stored >= 0.0)}.get(data, 1.0)
        weight = {"weights": stored, "signed": abs(stored)}.get(data, 1.0) * factor
        if weight:
            yield u, i, float(target), float(weight)


def scales(
    objective: Objective, matrix: Any, weights: ArrayLike | None = None
) -> tuple[Float, Float]:
    """Return s_u = (n_u + a0 n_cols)^exponent and s_i = (n_i + a0 n_rows)^exponent.

    Parameters
    ----------
    objective : Objective
        The objective, with a0 and the exponent.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries.
    weights : array_like, shape (n_entries,), optional
        As for `entries`.

    Returns
    -------
    tuple of ndarray, shape (n_rows,) and (n_cols,)

    Examples
    --------
    >>> from twofold import L2
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> rows, cols = scales(Objective(regularizer=L2(exponent=1.0)), R)
    >>> rows.tolist(), cols.tolist()
    ([2.0, 2.0], [1.0, 2.0, 1.0])
    """
    n_rows, n_cols = matrix.shape
    summed_rows, summed_cols = np.zeros(n_rows), np.zeros(n_cols)
    for u, i, _, w in entries(objective, matrix, weights):
        summed_rows[u] += w
        summed_cols[i] += w
    a0, exponent = objective.unobserved_weight, objective.regularizer.exponent
    return (summed_rows + a0 * n_cols) ** exponent, (summed_cols + a0 * n_rows) ** exponent


def _in_u(objective: Objective, matrix: Any, weights: ArrayLike | None = None) -> Float:
    """Return a dense matrix that is 1 for the cells in U and 0 for the others."""
    cells = np.ones(matrix.shape)
    if objective.unobserved == "missing":
        for u, i, _, _ in entries(objective, matrix, weights):
            cells[u, i] = 0.0
    return cells


def mean(objective: Objective, matrix: Any, weights: ArrayLike | None = None) -> float:
    """Return mu = sum w r / (sum w + a0 |U|), or the mean of the objective if it has one.

    Parameters
    ----------
    objective, matrix, weights
        As for `scales`.

    Returns
    -------
    float
        0 without data.

    Examples
    --------
    >>> mean(Objective(data="targets", biases=True), sparse.csr_array([[3.0, 5.0], [0.0, 4.0]]))
    4.0
    """
    if objective.mean is not None:
        return objective.mean
    summed = total = 0.0
    for _, _, r, w in entries(objective, matrix, weights):
        summed, total = summed + w * r, total + w
    total += objective.unobserved_weight * float(_in_u(objective, matrix, weights).sum())
    return summed / total if total else 0.0


def _centered(
    objective: Objective, matrix: Any, P: Float, Q: Float, weights: ArrayLike | None = None
) -> tuple[Float, Float]:
    """Return the arguments of phi: p - c_u, b_u, 0 of rows and q - d_i, 0, b_i - mu of columns."""
    P, Q = P.copy(), Q.copy()
    for factors, centers in zip((P, Q), objective.regularizer.centers, strict=True):
        if centers is not None:
            factors[:, : centers.values.shape[1]] -= centers.values
    if objective.biases:
        P[:, -1] = Q[:, -2] = 0.0
        Q[:, -1] -= mean(objective, matrix, weights)
    return P, Q


def value(
    objective: Objective, matrix: Any, P: ArrayLike, Q: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, float]:
    """Return the terms of F(P, Q), summed cell by cell.

    Parameters
    ----------
    objective : Objective
        The objective to evaluate.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries.
    P, Q : array_like, shape (n_rows, k) and (n_cols, k)
        Factors; with biases [p, b_u, 1] and [q, 1, b_i].
    weights : array_like, shape (n_entries,), optional
        As for `entries`.

    Returns
    -------
    dict
        "loss", "unobserved", "penalty" and "total".

    Examples
    --------
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> {name: round(term, 3) for name, term in value(objective, R, P, Q).items()}
    {'loss': 1.0, 'unobserved': 0.0, 'penalty': 0.275, 'total': 1.275}
    """
    P, Q = np.asarray(P, dtype=np.float64), np.asarray(Q, dtype=np.float64)
    X = P @ Q.T
    loss = sum(
        w * float(objective.loss.value(r, X[u, i]))
        for u, i, r, w in entries(objective, matrix, weights)
    )
    unobserved = objective.unobserved_weight * float(
        np.sum(_in_u(objective, matrix, weights) * X**2)
    )
    s_rows, s_cols = scales(objective, matrix, weights)
    phi = objective.regularizer.value
    of_rows, of_cols = _centered(objective, matrix, P, Q, weights)
    penalty = objective.regularizer.weight * float(
        np.sum(s_rows * phi(of_rows).sum(axis=1)) + np.sum(s_cols * phi(of_cols).sum(axis=1))
    )
    return {
        "loss": float(loss),
        "unobserved": unobserved,
        "penalty": penalty,
        "total": float(loss) + unobserved + penalty,
    }


def gradient(
    objective: Objective, matrix: Any, P: ArrayLike, Q: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Float, Float]:
    """Return dF/dP and dF/dQ, computed from the slope of every cell.

    Parameters
    ----------
    objective, matrix, P, Q, weights
        As for `value`.

    Returns
    -------
    tuple of ndarray, shape (n_rows, k) and (n_cols, k)
        Zero in the constant columns of factors with biases.

    Examples
    --------
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> dP, dQ = gradient(objective, R, P, Q)
    >>> dP.round(3).tolist()
    [[-0.8], [-0.8]]
    """
    P, Q = np.asarray(P, dtype=np.float64), np.asarray(Q, dtype=np.float64)
    X = P @ Q.T
    slope = 2.0 * objective.unobserved_weight * _in_u(objective, matrix, weights) * X
    for u, i, r, w in entries(objective, matrix, weights):
        slope[u, i] += w * float(objective.loss.derivative(r, X[u, i]))
    s_rows, s_cols = scales(objective, matrix, weights)
    lam, derivative = objective.regularizer.weight, objective.regularizer.derivative
    of_rows, of_cols = _centered(objective, matrix, P, Q, weights)
    dP = slope @ Q + lam * s_rows[:, None] * derivative(of_rows)
    dQ = slope.T @ P + lam * s_cols[:, None] * derivative(of_cols)
    if objective.biases:
        dP[:, -1] = dQ[:, -2] = 0.0
    return dP, dQ


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
    >>> from twofold import L2
    >>> objective = Objective(regularizer=L2(0.1))
    >>> R = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> P, Q = np.ones((2, 1)), np.full((3, 1), 0.5)
    >>> fold_in(objective, R, Q).round(3).tolist()
    [[1.667], [1.667]]
    """
    Q = np.asarray(Q, dtype=np.float64)
    n_rows, k = matrix.shape[0], Q.shape[1]
    curvature = objective.unobserved_weight * _in_u(objective, matrix, weights)
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
