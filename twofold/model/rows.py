"""Trained rows, solved for the final columns of a model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import aligned_copy
from twofold.data.entries import AlignedEntries, entries_of_rows
from twofold.data.pairings import Pairings
from twofold.objective import Objective, Problem
from twofold.solvers import ALS, Solution, Status
from twofold.solvers.centered_system import CenteredSystem

__all__ = ["problem_of", "solved_rows", "solves_rows"]


def problem_of(objective: Objective, entries: AlignedEntries) -> Problem:
    """Return the problem of some rows over the columns of a model."""
    shape = (entries.indptr.size - 1, entries.col_ids.size)
    return Problem.of_arrays(
        objective, shape, entries.indptr, entries.indices, entries.data,
        entries.beside.get("weights"),
    )  # fmt: skip


def solves_rows(objective: Objective, solution: Solution) -> bool:
    """Return whether the rows of a model are solved anew for its final columns.

    The rows of a solution were solved for the columns before the last half-step, or approximately.
    They are kept if the objective is not quadratic or the run diverged.
    """
    return not ALS.supports.missing(objective) and solution.status is not Status.DIVERGED


def solved_rows(
    system: CenteredSystem,
    objective: Objective,
    pairings: Pairings,
    solution: Solution,
    positions: NDArray[np.int64] | None = None,
    n_threads: int | None = None,
) -> NDArray[Any]:
    """Return trained rows that minimise the objective for the columns of the solution.

    Parameters
    ----------
    system : CenteredSystem
        The columns of the solution.
    objective : Objective
        With squared loss and L2.
    pairings : Pairings
        The training pairs.
    solution : Solution
        The solution; a row without a unique minimum has its factors.
    positions : ndarray of int64, shape (n,), optional
        The rows; default: all. A solved row does not depend on the others.
    n_threads : int, optional
        Default: all.

    Returns
    -------
    ndarray, shape (n, k)
    """
    given, centers = solution.row_factors, objective.regularizer.centers[0]
    if positions is None:
        problem = Problem.of(objective, pairings.matrix, pairings.weights)
    else:
        problem = problem_of(objective, entries_of_rows(pairings, positions))
        given, centers = given[positions], centers and centers.take(positions)
    penalty = problem.penalty("row", system.n_factors, centers)
    report = system.solve(problem.rows, penalty.center, n_threads=n_threads)
    rows = report.row_factors
    if rows.shape[1] > system.n_factors:
        rows = aligned_copy(rows[:, : system.n_factors], rows.dtype)
    rows[report.unsolved] = given[report.unsolved]
    return rows
