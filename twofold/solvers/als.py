"""Alternating least squares: every half-step exact, or near it at a lower price."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from twofold._checks import check_choice, check_whole
from twofold.exceptions import InvalidInputError
from twofold.objective import L2, Objective, Problem, SquaredLoss
from twofold.solvers._half_step import RowSolver, half_step
from twofold.solvers.base import Solver, Support
from twofold.solvers.state import State

__all__ = ["ALS"]


@dataclass(kw_only=True)
class ALS(Solver):
    """Alternating least squares: solve all rows, then all columns.

    One epoch is both half-steps, so the objective never increases. For each row it solves

        (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k') p = sum_k w_k r_k q_k

    with c = w, or w - a0 for ``unobserved="missing"`` (Hu, Koren & Volinsky 2008, eq. 4; Rendle et
    al. 2021, arXiv 2110.14037), in the coordinates that turn the Gramian into the identity. Needs
    `SquaredLoss` and `L2`. Rows without entries become zero.

    Parameters
    ----------
    row_solver : {"auto", "direct", "cg", "subspace"}, default "auto"
        ``"auto"`` solves every row to a relative error of at most 1e-5 against float64, by the
        cheapest way for that row. A row of d <= n_factors entries is a d x d Cholesky
        factorisation (d^2 n_factors + d^3/3 flops), a longer one of n_factors x n_factors
        (d n_factors^2 + n_factors^3/3). In float32, where that is more than 100 d n_factors flops,
        which is never the case for 64 factors and for 128 from about 80 entries on, up to 20 steps
        of conjugate gradients from where the row was are tried first, and are good if a float64
        residual says so. Direct solutions are refined with float64 residuals where an error
        estimate asks for it, and done in float64 where that does not settle. ``"direct"`` is the
        same without conjugate gradients. ``"cg"`` does ``cg_steps`` of them and no more,
        preconditioned by the Gramian. ``"subspace"`` solves for ``block_size`` factors at a time,
        once around (iALS++, Rendle et al. 2021, arXiv 2110.14044), and rows of at most that many
        entries exactly. These two are not exact, but the objective never increases either.
    cg_steps : int, default 2
        Steps of ``"cg"``, >= 1; one more in the first epoch, which starts anywhere.
    block_size : int, default 64
        Factors in a block of ``"subspace"``, >= 1.
    nonnegative : bool, default False
        Only factors >= 0: every row is solved by coordinate descent until it settles (Franc,
        Hlavac & Navara 2005), and the initial factors are taken without their signs. Needs
        ``row_solver="auto"``.

    Raises
    ------
    SingularRowError
        From `solve`, if a row has no unique solution: its entries do not span all factors and
        nothing regularises it.
    """

    row_solver: Literal["auto", "direct", "cg", "subspace"] = "auto"
    cg_steps: int = 2
    block_size: int = 64
    nonnegative: bool = False

    supports: ClassVar[Support] = Support(losses=(SquaredLoss,), regularizers=(L2,))

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_choice(self.row_solver, "row_solver", ("auto", "direct", "cg", "subspace"))
        check_whole(self.cg_steps, "cg_steps", 1)
        check_whole(self.block_size, "block_size", 1)
        if self.nonnegative and self.row_solver != "auto":
            raise InvalidInputError(
                f"row_solver={self.row_solver!r} cannot keep factors >= 0: with nonnegative=True "
                'it must be "auto"'
            )

    def prepare(self, problem: Problem, state: State) -> State:
        """Take the signs off the initial factors, if they must be >= 0."""
        if not self.nonnegative:
            return state
        return state.moved(np.abs(state.row_factors), np.abs(state.col_factors))

    def step(self, problem: Problem, state: State) -> State:
        """Solve for all rows, then for all columns."""
        steps = self.cg_steps + (state.epoch == 0)  # where it starts is far from where it goes
        how = RowSolver(self.row_solver, steps, self.block_size, self.nonnegative)
        objective, P, Q = problem.objective, state.row_factors, state.col_factors
        n = self.n_threads
        P = half_step(objective, problem.rows, Q, own=P, how=how, n_threads=n)
        Q = half_step(objective, problem.cols, P, own=Q, how=how, n_threads=n, row_name="col")
        return state.moved(P, Q)
