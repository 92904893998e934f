"""Fold-in: optimal factors of new rows for fixed columns."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.arrays import FactorArray
from twofold._common.checks import check_choice
from twofold._common.warn import warn
from twofold._kernels.arguments import PenaltyCall
from twofold._kernels.fold import fold_rows
from twofold._kernels.threads import check_n_threads, run
from twofold.exceptions import ConvergenceWarning, InvalidInputError
from twofold.objective import L2, Objective, Problem
from twofold.objective.biases import Axis, BiasColumns
from twofold.objective.centers import Centers
from twofold.objective.problem import check_factors
from twofold.solvers.als import ALS
from twofold.solvers.centered_system import CenteredSystem

__all__ = [
    "fold_in", "fold_rows_in", "penalty_of_new", "prepare_columns", "solve_new_rows",
    "warn_of_unsettled",
]  # fmt: skip

_MAX_STEPS = 5000
_ACCURACY = 1e-9


def fold_in(
    objective: Objective,
    matrix: Any,
    col_factors: ArrayLike,
    *,
    weights: Any = None,
    axis: Axis = "row",
    center: ArrayLike | None = None,
    n_threads: int | None = None,
) -> FactorArray:
    """Compute the factors of new rows, which minimise the objective for fixed columns.

    With `SquaredLoss` and `L2`, each row is the solution of its normal equations, computed by the
    kernel of the ALS half-step:

        p = (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k')^-1 sum_k w_k r_k q_k

    For other losses and regularisers, each row is minimised by accelerated proximal gradient steps
    in float64 (Beck & Teboulle 2009) until the relative change is below 1e-9. To fold in new
    columns, pass the transposed matrix, the row factors and ``axis="col"``. With biases the factors
    are Q^ and P^ of `Objective`.

    Parameters
    ----------
    objective : Objective
        As in training. s_u is computed from the entries of the new rows.
    matrix : scipy sparse matrix or array, shape (n_new_rows, n_cols)
        The stored entries of the new rows, over the same columns.
    col_factors : array_like, shape (n_cols, n_factors)
        Q.
    weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
        A weight >= 0 for each stored entry, as for `Solver.solve`.
    axis : {"row", "col"}, default "row"
        Whether rows or columns are folded in; it makes a difference with biases and centers only.
    center : array_like, shape (n_new_rows, n_factors), optional
        The centers of the new rows, for an objective with `L2`; default zeros. They are needed if
        the objective has ``row_center`` (``col_center`` for ``axis="col"``), which are those of the
        training data.
    n_threads : int, optional
        Default: all. The result is bitwise independent of it.

    Returns
    -------
    ndarray, shape (n_new_rows, n_factors)
        float32 if col_factors is float32, otherwise float64. Rows without entries are zero, or
        their centers. If ``unobserved_weight`` > 0, with biases they have the bias that fits all
        cells, and centers are as in `L2`.

    Raises
    ------
    InvalidInputError
        If shapes do not fit or a number is not finite.
    SingularRowError
        If a row has no unique solution.

    Warns
    -----
    ConvergenceWarning
        If an iterative method does not converge for a row.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from twofold import L2, Objective, fold_in
    >>> new_rows = sparse.csr_array([[1, 0], [1, 1]])
    >>> fold_in(Objective(regularizer=L2(1.0)), new_rows, np.array([[1.0], [2.0]]))
    array([[0.5],
           [0.5]])
    """
    check_n_threads(n_threads)
    check_choice(axis, "axis", ("row", "col"))
    problem = Problem.of(objective, matrix, weights)
    system = prepare_columns(objective, col_factors, problem.shape, axis, n_threads)
    penalty = penalty_of_new(problem, system.n_factors, center, axis)
    return fold_rows_in(system, problem, penalty, n_threads)


def prepare_columns(
    objective: Objective,
    col_factors: ArrayLike,
    shape: tuple[int, int],
    axis: Axis = "row",
    n_threads: int | None = None,
) -> CenteredSystem:
    """Check the fixed factors of `fold_in` and prepare them for matrices of a shape.

    Raises
    ------
    InvalidInputError
        If the factors do not fit the shape or the objective, or are not finite.
    """
    Q = np.asarray(col_factors)
    if Q.ndim != 2 or Q.dtype.kind not in "fiu":
        raise InvalidInputError("col_factors must be a 2-d array of numbers, (cols, factors)")
    n_rows, n_cols = shape
    if n_cols != Q.shape[0]:
        swapped = ": are rows and columns swapped?" if n_rows == Q.shape[0] else ""
        raise InvalidInputError(
            f"the matrix has {n_cols} cols, but col_factors has {Q.shape[0]} rows{swapped}"
        )
    check_factors(Q, "col", n_cols, n_rows)
    if not Q.shape[1]:
        raise InvalidInputError("col_factors has no columns: give at least one factor")
    if objective.biases:
        _check_biases(objective, Q, axis)
    Q = Q.astype(np.float32 if Q.dtype == np.float32 else np.float64, copy=False)
    return CenteredSystem.prepare(objective, Q, axis, n_threads=n_threads)


def _check_biases(objective: Objective, factors: NDArray[Any], axis: Axis) -> None:
    """Raise if the mean of an objective with biases or the given factors are not usable."""
    other: Axis = "col" if axis == "row" else "row"
    BiasColumns.of(other, factors.shape[1]).check(factors, "col_factors")
    if axis == "col" and objective.mean is None:
        raise InvalidInputError(
            "the biases of new columns are drawn to the mean of the training data: give "
            "objective.for_data(training matrix), which has it"
        )


def penalty_of_new(
    problem: Problem, n_columns: int, center: ArrayLike | None, axis: Axis = "row"
) -> PenaltyCall:
    """Return the penalty of the new rows of a problem.

    Parameters
    ----------
    problem : Problem
        The new rows.
    n_columns : int
        Number of columns of the factors.
    center : array_like, shape (n_new_rows, n_factors), optional
        As for `fold_in`.
    axis : {"row", "col"}, default "row"
        As for `fold_in`.

    Raises
    ------
    InvalidInputError
        If the center is needed and not given, has another shape, or cannot be used.
    """
    objective = problem.objective
    if center is None:
        if objective.regularizer.centers[axis == "col"] is not None:
            raise InvalidInputError(
                f"the objective has {axis}_center, which has the centers of the trained {axis}s "
                f"only: give center=, those of the new {axis}s"
            )
        return problem.penalty(axis, n_columns, None)
    if not isinstance(objective.regularizer, L2) or objective.nonnegative:
        raise InvalidInputError(
            "center= is for objectives with the regularizer L2 and without nonnegative=True: "
            "leave it out"
        )
    centers = Centers.of(center, "center")
    centers.check_shape((problem.shape[0], n_columns - objective.n_bias_columns), "center")
    return problem.penalty(axis, n_columns, centers)


def fold_rows_in(
    system: CenteredSystem,
    problem: Problem,
    penalty: PenaltyCall,
    n_threads: int | None = None,
) -> FactorArray:
    """Return the rows that minimise the objective of a problem for prepared columns.

    Parameters
    ----------
    system : CenteredSystem
        A system of the same objective.
    problem : Problem
        The new rows, over the columns of the system.
    penalty : PenaltyCall
        Their penalty; see `penalty_of_new`.
    n_threads : int, optional
        Default: all.

    Returns
    -------
    ndarray, shape (n_new_rows, n_factors)

    Warns
    -----
    ConvergenceWarning
        At the first, tenth, hundredth, ... call for a system with rows that do not converge.
    """
    factors, unsettled = solve_new_rows(system, problem, penalty, n_threads)
    if unsettled.size:
        warn_of_unsettled(unsettled, next(system.unsettled_calls))
    return factors


def solve_new_rows(
    system: CenteredSystem,
    problem: Problem,
    penalty: PenaltyCall,
    n_threads: int | None = None,
) -> tuple[FactorArray, NDArray[np.int64]]:
    """Return the rows of `fold_rows_in`, and the indices of those that did not converge."""
    if ALS.supports.missing(problem.objective):
        factors, unsettled = _minimise_rows(problem, system, penalty, n_threads)
    else:
        report = system.solve(problem.rows, penalty.center, n_threads=n_threads)
        report.check(problem.rows)
        factors, unsettled = report.row_factors[:, : system.n_factors], report.unsettled
    return np.ascontiguousarray(factors, dtype=system.col_factors.dtype), unsettled


def warn_of_unsettled(unsettled: NDArray[np.int64], number: int = 1) -> None:
    """Warn at the calls 1, 10, 100, ... with such rows, because a model may serve many requests."""
    if 10 ** (len(str(number)) - 1) != number:
        return
    counted = f" (this is call {number} of this model with such rows)" if number > 1 else ""
    warn(
        f"row {unsettled[0]} and {unsettled.size - 1} others did not converge, so their factors "
        f"are approximate: increase the regularizer's weight{counted}",
        ConvergenceWarning,
    )


def _minimise_rows(
    problem: Problem, system: CenteredSystem, penalty: PenaltyCall, n_threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the rows, and the indices of those that reached the maximum number of steps."""
    side = problem.rows
    factors, steps = np.zeros((side.n, system.n_factors)), np.zeros(side.n, np.int64)
    run(
        fold_rows, side.bounds.size - 1, check_n_threads(n_threads), side.bounds, side.entries,
        problem.loss_call, penalty, system.gram, system.col_factors, _MAX_STEPS, _ACCURACY,
        factors, steps,
    )  # fmt: skip
    return factors, np.flatnonzero(steps >= _MAX_STEPS)
