"""Fold-in: the best factors of new rows for fixed columns."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._kernels.fold import fold_rows
from twofold._threads import check_n_threads, parallel
from twofold.exceptions import ConvergenceWarning, InvalidInputError
from twofold.objective import Objective, Problem
from twofold.objective.problem import gramian
from twofold.pairings import to_csr
from twofold.solvers._half_step import half_step
from twofold.solvers.als import ALS

__all__ = ["fold_in"]

_MAX_STEPS = 5000
_ACCURACY = 1e-9


def fold_in(
    objective: Objective,
    matrix: Any,
    col_factors: ArrayLike,
    *,
    n_threads: int | None = None,
) -> NDArray[Any]:
    """Find the factors of new rows: the rows that minimise the objective for fixed columns.

    With `SquaredLoss` and `L2` every row is solved exactly by its normal equations, in the kernel
    of the ALS half-step:

        p = (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k')^-1 sum_k w_k r_k q_k

    With any other loss or regulariser every row is minimised by accelerated proximal gradient
    steps in float64 (Beck & Teboulle 2009) until it moves by less than 1e-9 of its length. To fold
    new columns in, give the transposed matrix and the row factors.

    Parameters
    ----------
    objective : Objective
        As in training. s_u counts the entries of the new rows.
    matrix : scipy sparse matrix or array, shape (n_new_rows, n_cols)
        The stored entries of the new rows, over the same columns.
    col_factors : array_like, shape (n_cols, n_factors)
        Q.
    n_threads : int, optional
        Default: all. The bits do not depend on it.

    Returns
    -------
    ndarray, shape (n_new_rows, n_factors)
        In the dtype of col_factors (float64 unless it is float32). A row without entries is zero.

    Raises
    ------
    InvalidInputError
        If shapes do not fit or a number is not finite.
    SingularRowError
        If a row has no unique solution.
    """
    check_n_threads(n_threads)
    Q = np.asarray(col_factors)
    if Q.ndim != 2 or Q.dtype.kind not in "fiu":
        raise InvalidInputError("col_factors must be a 2-d array of numbers, (cols, factors)")
    csr = to_csr(matrix)
    if csr.shape[1] != Q.shape[0]:
        swapped = ": are rows and columns swapped?" if csr.shape[0] == Q.shape[0] else ""
        raise InvalidInputError(
            f"the matrix has {csr.shape[1]} cols, but col_factors has {Q.shape[0]} rows{swapped}"
        )
    problem = Problem(objective, csr)
    nothing = np.zeros((csr.shape[0], Q.shape[1]))
    problem.check_factors(nothing, Q)
    dtype = np.float32 if Q.dtype == np.float32 else np.float64
    Q = np.require(Q, dtype, ["C", "W"])
    if not ALS.supports.missing(objective):
        return half_step(objective, problem.rows, Q, n_threads=n_threads)
    return _minimise_rows(problem, Q, n_threads).astype(dtype, copy=False)


def _minimise_rows(problem: Problem, Q: NDArray[Any], n_threads: int | None) -> NDArray[np.float64]:
    objective, side, k = problem.objective, problem.rows, Q.shape[1]
    loss_code, parameter, loss_value, loss_slope = problem.loss_call
    penalty_code, penalty_value, penalty = problem.penalty_call
    out = np.zeros((side.n, k))
    steps = np.zeros(side.n, dtype=np.int64)
    with parallel(n_threads):
        a0 = objective.unobserved_weight
        G = a0 * gramian(Q) if a0 else np.zeros((k, k))
        fold_rows(
            side.bounds, side.indptr, side.indices, side.targets, side.weights, side.first,
            objective.missing_weight, G, loss_code, parameter, loss_value, loss_slope, side.scale,
            penalty_code, penalty_value, penalty, objective.regularizer.smooth,
            Q, _MAX_STEPS, _ACCURACY, out, steps,
        )  # fmt: skip
    late = np.flatnonzero(steps >= _MAX_STEPS)
    if late.size:
        warnings.warn(
            f"row {late[0]} and {late.size - 1} others did not settle within {_MAX_STEPS} steps: "
            "their factors are approximate; a larger regularizer weight makes them settle sooner",
            ConvergenceWarning,
            stacklevel=3,
        )
    return out
