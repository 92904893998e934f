"""The objective, its terms and its gradient, written from the formulas."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.objective import Objective

__all__ = ["Float", "centered", "entries", "gradient", "in_u", "mean", "scales", "value"]

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


def in_u(objective: Objective, matrix: Any, weights: ArrayLike | None = None) -> Float:
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
    total += objective.unobserved_weight * float(in_u(objective, matrix, weights).sum())
    return summed / total if total else 0.0


def centered(
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
        np.sum(in_u(objective, matrix, weights) * X**2)
    )
    s_rows, s_cols = scales(objective, matrix, weights)
    phi = objective.regularizer.value
    of_rows, of_cols = centered(objective, matrix, P, Q, weights)
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
    slope = 2.0 * objective.unobserved_weight * in_u(objective, matrix, weights) * X
    for u, i, r, w in entries(objective, matrix, weights):
        slope[u, i] += w * float(objective.loss.derivative(r, X[u, i]))
    s_rows, s_cols = scales(objective, matrix, weights)
    lam, derivative = objective.regularizer.weight, objective.regularizer.derivative
    of_rows, of_cols = centered(objective, matrix, P, Q, weights)
    dP = slope @ Q + lam * s_rows[:, None] * derivative(of_rows)
    dQ = slope.T @ P + lam * s_cols[:, None] * derivative(of_cols)
    if objective.biases:
        dP[:, -1] = dQ[:, -2] = 0.0
    return dP, dQ
