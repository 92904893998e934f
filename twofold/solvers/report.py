"""`RowReport`: solved rows with the method and the error of each."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import rows
from twofold._kernels.arguments import Report
from twofold.objective.side import Side
from twofold.solvers.unsolved import UnsolvedRows

__all__ = ["Route", "RowReport"]

Array = NDArray[Any]
Rows = NDArray[np.int64]


class Route(IntEnum):
    """Method by which a row was solved.

    Examples
    --------
    >>> Route.CG.name, Route(0)
    ('CG', <Route.EMPTY: 0>)
    """

    EMPTY = rows.EMPTY
    """The row has no entries, and its solution is zero."""
    DUAL = rows.DUAL
    """Cholesky factorisation of the d x d matrix of a row of d entries."""
    PRIMAL = rows.PRIMAL
    """Cholesky factorisation of the n_factors x n_factors matrix."""
    CG = rows.CG
    """Conjugate gradients."""
    ORTHOGONAL = rows.ORTHOGONAL
    """Orthogonal factorisation in float64, for ill-conditioned normal equations."""
    NORMAL = rows.NORMAL
    """Normal equations in float64, for weights below a0."""
    NONNEGATIVE = rows.NONNEGATIVE
    """Coordinate descent and an active-set method, for nonnegative factors."""


@dataclass(frozen=True, eq=False)
class RowReport:
    """Solved rows with the status, route and error of each row.

    Parameters
    ----------
    row_factors : ndarray, shape (n, width)
        The solutions, padded with zeros to a multiple of 8 columns.
    status : ndarray of uint8, shape (n,)
        0 if a row is solved; otherwise a code that `check` translates into an error.
    route : ndarray of uint8, shape (n,)
        The `Route` of each row.
    error : ndarray of float64, shape (n,)
        Estimated relative error. With ``way="cg"`` it is a bound that follows from the residual
        before the last step, and with nonnegative factors the largest violation of the optimality
        conditions, relative to the linear terms.
    sums : ndarray of float64, shape (n, 2) or (0, 2)
        The objective of each row, sum_k (w_k (r_k - x_k)^2 - a_k x_k^2) + a0 |Q p|^2 + lam s |p|^2,
        and the sum of a_k x_k^2; empty unless they were requested. Here x_k are the predictions,
        and a_k is the weight that an entry excludes from the unobserved term. Both are computed
        during the solve, with rounding errors of the dtype of the factors. They are nan for rows
        that are solved by an orthogonal factorisation or with nonnegative factors.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2, Objective
    >>> from twofold.objective import Problem
    >>> from twofold.solvers import ColumnSystem
    >>> objective = Objective(regularizer=L2(1.0))
    >>> rows = Problem.of(objective, sparse.csr_array([[1, 0], [1, 1]])).rows
    >>> system = ColumnSystem.prepare(objective, np.array([[1.0], [2.0]]))
    >>> report = system.solve(rows, needs_sums=True)
    >>> report.check(rows)
    >>> report.unsolved.size, report.unsettled.size, bool(report.error.max() < 1e-6)
    (0, 0, True)
    >>> report.forget_sums(np.array([1]))
    >>> report.sums[:, 0]
    array([0.5, nan])
    """

    row_factors: Array
    status: NDArray[np.uint8]
    route: NDArray[np.uint8]
    error: NDArray[np.float64]
    sums: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))

    @classmethod
    def of(cls, row_factors: Array, needs_sums: bool) -> Self:
        """Return the report of rows that are not solved yet.

        Parameters
        ----------
        row_factors : ndarray, shape (n, width)
            Where the solutions will be.
        needs_sums : bool
            Whether ``sums`` are computed.
        """
        n = len(row_factors)
        status, route = np.zeros((2, n), np.uint8)
        return cls(row_factors, status, route, np.zeros(n), np.zeros((n if needs_sums else 0, 2)))

    def forget_sums(self, rows: Rows) -> None:
        """Set the sums of rows to nan, if there are any.

        Parameters
        ----------
        rows : ndarray of int64
            Positions of the rows.
        """
        if self.sums.size:
            self.sums[rows] = np.nan

    @property
    def for_kernels(self) -> Report:
        """The arrays that kernels write to, besides the solutions."""
        return Report(self.status, self.route, self.error, self.sums)

    @property
    def unsettled(self) -> Rows:
        """Indices of the rows for which a method did not converge, shape (n_unsettled,)."""
        return np.flatnonzero(self.status == rows.NOT_CONVERGED)

    @property
    def unsolved(self) -> Rows:
        """Indices of the rows without a solution, shape (n_unsolved,); `check` raises for them."""
        return np.flatnonzero((self.status != rows.SOLVED) & (self.status != rows.NOT_CONVERGED))

    def check(self, side: Side, axis: str = "row") -> None:
        """Raise if a row has no solution.

        Parameters
        ----------
        side : Side
            The rows that were solved.
        axis : {"row", "col"}, default "row"
            The side of the problem, for messages.

        Raises
        ------
        SingularRowError
            If the normal equations of a row are singular.
        InvalidInputError
            If a solution is beyond the range of its dtype.
        """
        if not self.status.any():
            return
        overflown = np.flatnonzero(self.status == rows.OVERFLOW)
        found = overflown if overflown.size else np.flatnonzero(self.status == rows.SINGULAR)
        if found.size:
            row = int(found[0])
            raise UnsolvedRows(
                axis,
                side.position(row),
                None if side.multiplicity.size else int(side.counts[row]),
                side.n_of(found),
                bool(overflown.size),
                str(self.row_factors.dtype),
                bool(side.scale[row] > 0.0),
                bool((self.route[found] == rows.NORMAL).any()),
            ).error()
