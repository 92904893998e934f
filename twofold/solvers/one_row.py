"""One row of ones without center, solved by few calls.

After a search through all columns the caches are cold, and each call of Python and numpy then takes
several times as long as its work. `ColumnSystem.solve` makes about a hundred of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import direct, rows
from twofold._kernels.aligned import empty_aligned
from twofold._kernels.arguments import Columns, Entries, Report, Tasks
from twofold._kernels.threads import run
from twofold.objective.evaluation import multiplied
from twofold.objective.terms import Terms
from twofold.solvers.als import ALS
from twofold.solvers.column_system import ColumnSystem

__all__ = ["has_plain_rows", "solve_plain_row"]

_MAX_ENTRIES = 64  # more might be solved by conjugate gradients
_TASKS = Tasks(np.zeros(1, np.int64), np.array([0, 1]), _MAX_ENTRIES)
_EMPTY = np.empty(0)


def has_plain_rows(objective: Terms) -> bool:
    """Return whether `solve_plain_row` is for the rows of an objective."""
    is_plain = not (objective.nonnegative or objective.biases or objective.has_centers)
    return is_plain and not ALS.supports.missing(objective)


def solve_plain_row(system: ColumnSystem, indices: NDArray[Any]) -> NDArray[Any] | None:
    """Return the factors of a row with targets and weights of 1, with the bits of `solve`.

    Parameters
    ----------
    system : ColumnSystem
        The columns, of an objective for which `has_plain_rows`.
    indices : ndarray of int32, shape (n_entries,)
        The columns of the entries, ascending and without repeated ones.

    Returns
    -------
    ndarray, shape (1, n_factors), or None
        None if the row needs another way to be solved.
    """
    objective, n, k = system.objective, indices.size, system.n_factors
    n_cols, width = system.col_factors.shape
    regularizer, a0 = objective.regularizer, objective.unobserved_weight
    scale = regularizer.weight * regularizer.scale(np.array([float(n)]), a0 * n_cols)
    if not 0 < n <= min(k, _MAX_ENTRIES) or not system.is_accurate(float(scale[0])):
        return None
    entries = Entries(
        np.array([0, n]), indices, _EMPTY, _EMPTY, _EMPTY, float(objective.missing_weight), scale
    )
    columns = Columns(
        system.rotated, system.spectrum, system.col_factors, system.vectors, _EMPTY, k
    )
    out = empty_aligned((1, width), system.col_factors.dtype)
    report = Report(np.zeros(1, np.uint8), np.zeros(1, np.uint8), np.zeros(1), np.empty((0, 2)))
    run(direct.solve_direct, 1, 1, _TASKS, entries, columns, out, report)
    if report.status[0] != rows.SOLVED:
        return None
    if system.vectors.size:
        solved = out
        out = empty_aligned((1, width), out.dtype)
        multiplied(solved, system.inverse_rotation, out, 1)
    return out[:, :k]
