"""Fold-in: the best factors of new rows for fixed columns."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._kernels.fold import fold_rows
from twofold._kernels.threads import check_n_threads, run
from twofold.exceptions import ConvergenceWarning, InvalidInputError
from twofold.objective import Objective, Problem
from twofold.objective.problem import check_factors
from twofold.solvers.als import ALS
from twofold.solvers.column_system import ColumnSystem

__all__ = ["fold_in", "fold_rows_in"]

_MAX_STEPS = 5000
_ACCURACY = 1e-9


def fold_in(
    objective: Objective,
    matrix: Any,
    col_factors: ArrayLike,
    *,
    weights: Any = None,
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
    weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
        A weight >= 0 for each stored entry, as for `Solver.solve`.
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

    Warns
    -----
    ConvergenceWarning
        If an iterative computation ends before a row has settled.
    """
    check_n_threads(n_threads)
    Q = np.asarray(col_factors)
    if Q.ndim != 2 or Q.dtype.kind not in "fiu":
        raise InvalidInputError("col_factors must be a 2-d array of numbers, (cols, factors)")
    problem = Problem.of(objective, matrix, weights)
    n_rows, n_cols = problem.shape
    if n_cols != Q.shape[0]:
        swapped = ": are rows and columns swapped?" if n_rows == Q.shape[0] else ""
        raise InvalidInputError(
            f"the matrix has {n_cols} cols, but col_factors has {Q.shape[0]} rows{swapped}"
        )
    check_factors(Q, "col", n_cols, n_rows)
    if not Q.shape[1]:
        raise InvalidInputError("col_factors has no columns: give at least one factor")
    Q = Q.astype(np.float32 if Q.dtype == np.float32 else np.float64, copy=False)
    system = ColumnSystem.prepare(objective, Q, n_threads=n_threads)
    return fold_rows_in(system, problem, n_threads)


def fold_rows_in(
    system: ColumnSystem, problem: Problem, n_threads: int | None = None
) -> NDArray[Any]:
    """Return the rows of a problem that minimise its objective for prepared columns.

    Parameters
    ----------
    system : ColumnSystem
        Of the same objective.
    problem : Problem
        The new rows, over the columns of the system.
    n_threads : int, optional
        Default: all.

    Returns
    -------
    ndarray, shape (n_new_rows, n_factors)
    """
    objective = problem.objective
    if ALS.supports.missing(objective):
        out, unsettled = _minimised(problem, system, n_threads)
    else:
        report = system.solve(problem.rows, n_threads=n_threads)
        report.check(problem.rows)
        out, unsettled = report.row_factors[:, : system.n_factors], report.unsettled
    if unsettled.size:
        warnings.warn(
            f"row {unsettled[0]} and {unsettled.size - 1} others did not settle: their factors are "
            "approximate; a larger regularizer weight makes them settle sooner",
            ConvergenceWarning,
            stacklevel=3,
        )
    return np.ascontiguousarray(out, dtype=system.col_factors.dtype)


def _minimised(
    problem: Problem, system: ColumnSystem, n_threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the rows, and which of them took too many steps."""
    side = problem.rows
    out, steps = np.zeros((side.n, system.n_factors)), np.zeros(side.n, np.int64)
    run(
        fold_rows, side.bounds.size - 1, check_n_threads(n_threads), side.bounds, side.entries,
        problem.loss_call, problem.penalty_call, system.gram, system.col_factors, _MAX_STEPS,
        _ACCURACY, out, steps,
    )  # fmt: skip
    return out, np.flatnonzero(steps >= _MAX_STEPS)
