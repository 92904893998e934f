"""Alternating least squares: every half-step exact, or near it at a lower price."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_whole
from twofold.exceptions import ConvergenceWarning
from twofold.objective import L2, Objective, Point, Problem, Side, SquaredLoss
from twofold.solvers.base import Solver, Support
from twofold.solvers.column_system import Buffers, ColumnSystem
from twofold.solvers.state import State

__all__ = ["ALS"]


@dataclass(kw_only=True)
class ALS(Solver):
    """Alternating least squares: solve all rows, then all columns.

    One epoch is both half-steps, so the objective never increases. For each row it solves

        (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k') p = sum_k w_k r_k q_k

    with c = w, or w - a0 for ``unobserved="missing"`` (Hu, Koren & Volinsky 2008, eq. 4; Rendle et
    al. 2021, arXiv 2110.14037), in the coordinates that turn the Gramian into the identity. Needs
    `SquaredLoss` and `L2`. Rows without entries are zero.

    Parameters
    ----------
    row_solver : {"auto", "direct", "cg"}, default "auto"
        ``"auto"`` solves every row to a relative error of at most 1e-5 in float32 and 1e-8 in
        float64, by the cheapest way for that row; where the terms of the right-hand side cancel,
        the error may be 1e-11 of the sum of what they contribute. A row of d <= n_factors entries
        is a d x d Cholesky factorisation (d^2 n_factors + d^3/3 flops), a longer one of n_factors x
        n_factors (d n_factors^2 + n_factors^3/3). In float32, where that is more than 100 d
        n_factors flops, which is never the case for 64 factors and for 128 from about 80 entries
        on, up to 20 steps of conjugate gradients from the last value of the row are tried first,
        and accepted if a float64 residual bounds the error. Direct solutions are refined with
        float64 residuals where an error estimate requires it, and computed in float64, at last by
        an orthogonal factorisation, where that does not settle. ``"direct"`` is the same without
        conjugate gradients. ``"cg"`` does ``cg_steps`` of them and no more, preconditioned by the
        Gramian. It is not exact, but the objective does not increase either.
    cg_steps : int, default 2
        Steps of ``"cg"``, >= 1; one more in the first epoch, because the start is random.

    Raises
    ------
    SingularRowError
        From `solve`, if a row has no unique solution: its entries do not span all factors and
        nothing regularises it.

    Warns
    -----
    ConvergenceWarning
        If, with ``Objective(nonnegative=True)``, a row does not settle.

    Notes
    -----
    With ``Objective(nonnegative=True)`` every row is solved by coordinate descent and an active-set
    method (Lawson & Hanson 1974, chapter 23), whatever ``row_solver`` is, and the initial factors
    are taken without their signs.
    """

    row_solver: Literal["auto", "direct", "cg"] = "auto"
    cg_steps: int = 2

    supports: ClassVar[Support] = Support(losses=(SquaredLoss,), regularizers=(L2,))

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_choice(self.row_solver, "row_solver", ("auto", "direct", "cg"))
        check_whole(self.cg_steps, "cg_steps", 1)

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the working memory of the half-steps."""
        return state.at(state.point, workspace=Buffers())

    def step(self, problem: Problem, state: State) -> State:
        """Solve for all rows, then for all columns."""
        point = state.point
        rows = self._half_step(problem, problem.rows, point.cols, point.rows, "row", state)
        cols = self._half_step(problem, problem.cols, rows, point.cols, "col", state)
        return state.at(Point(rows, cols, point.n_factors))

    def _half_step(
        self,
        problem: Problem,
        side: Side,
        other: NDArray[Any],
        start: NDArray[Any],
        axis: str,
        state: State,
    ) -> NDArray[Any]:
        """Return the exact or nearly exact factors of a side for those of the other one."""
        buffers: Buffers = state.workspace
        system = ColumnSystem.prepare(
            problem.objective,
            other,
            n_factors=state.point.n_factors,
            n_threads=self.n_threads,
            buffers=buffers,
        )
        report = system.solve(
            side,
            start,
            way=self.row_solver,
            cg_steps=self.cg_steps + (state.epoch == 0),
            n_threads=self.n_threads,
            buffers=buffers,
        )
        report.check(side, axis)
        if report.unsettled.size:
            warnings.warn(
                f"{axis} {report.unsettled[0]} and {report.unsettled.size - 1} others did not "
                "settle: their factors are approximate; a larger regularizer weight makes them "
                "settle sooner",
                ConvergenceWarning,
                stacklevel=2,
            )
        return report.row_factors
