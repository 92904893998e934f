"""Alternating least squares, every half-step exact."""

from dataclasses import dataclass
from typing import ClassVar

from twofold.objective import L2, Problem, SquaredLoss
from twofold.solvers._half_step import half_step
from twofold.solvers.base import Solver, Support
from twofold.solvers.state import State

__all__ = ["ALS"]


@dataclass(kw_only=True)
class ALS(Solver):
    """Alternating least squares: solve all rows exactly, then all columns exactly.

    One epoch is both half-steps, so the objective never increases. For each row it solves

        (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k') p = sum_k w_k r_k q_k

    with c = w, or w - a0 for ``unobserved="missing"`` (Hu, Koren & Volinsky 2008, eq. 4; Rendle et
    al. 2021, arXiv 2110.14037), by a k x k or, for short rows, a d x d Cholesky factorisation in
    the coordinates that turn the Gramian into the identity. Needs `SquaredLoss` and `L2`. Rows
    without entries become zero.

    Raises
    ------
    SingularRowError
        From `solve`, if a row has no unique solution: its entries do not span all factors and
        nothing regularises it.
    """

    supports: ClassVar[Support] = Support(losses=(SquaredLoss,), regularizers=(L2,))

    def step(self, problem: Problem, state: State) -> State:
        """Solve for all rows, then for all columns."""
        objective, n_threads = problem.objective, self.n_threads
        P = half_step(objective, problem.rows, state.col_factors, n_threads=n_threads)
        Q = half_step(objective, problem.cols, P, n_threads=n_threads, row_name="col")
        return state.moved(P, Q)
