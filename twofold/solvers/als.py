"""Alternating least squares with exact or approximate half-steps."""

import math
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from twofold._common.checks import check_choice, check_whole
from twofold._common.warn import warn
from twofold._kernels.mapped import arrays_in
from twofold.exceptions import ConvergenceWarning, InvalidInputError
from twofold.objective import L2, Objective, Point, Problem, SquaredLoss
from twofold.objective.terms import Terms
from twofold.solvers.acceleration import Extrapolation, balanced
from twofold.solvers.base import Solver, Support
from twofold.solvers.blocks import RowOptions
from twofold.solvers.merged import MergedProblem
from twofold.solvers.operations import Operations
from twofold.solvers.result import Solution
from twofold.solvers.state import State

__all__ = ["ALS"]

Factors = Any  # of one side: see `Operations`
_EXCESS = 0.02  # share of the last decrease of the objective that inexact rows may lose
_FIRST_GAIN = 0.1  # decrease of the first epoch, relative to the objective, for this purpose
_LEAST_TOL = 1e-5  # below which rounding errors of float32 may exceed tol
_PLAIN = "plain"  # name of the rows of an epoch without extrapolation in a `PartialEpoch`


@dataclass(frozen=True)
class ALSMemory:
    """State of ALS that is needed to continue a run; see `Extrapolation`."""

    previous: Factors
    t: float
    gain: float
    """Decrease of the objective in the last epoch."""
    is_merged: bool
    """Whether the columns are those of a `MergedProblem`."""


@dataclass(kw_only=True)
class ALS(Solver):
    """Alternating least squares.

    One epoch solves all rows for fixed columns and then all columns for fixed rows, accelerated by
    extrapolation. No epoch increases the objective. For each row, the solver solves

        (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k') p = sum_k w_k r_k q_k

    with c = w, or w - a0 for ``unobserved="missing"`` (Hu, Koren & Volinsky 2008, eq. 4; Rendle et
    al. 2021, arXiv 2110.14037), in coordinates where the Gramian is the identity. It supports
    `SquaredLoss` and `L2` only. The factors of rows without entries are zero. With
    ``Objective(biases=True)`` the bias of a row is one more unknown of its equations, so it is
    solved together with the factors. With biases or centers of `L2` the same is solved for the
    difference from the solution of a row without entries, which is its center if a0 = 0. The errors
    below are then relative to this difference.

    Parameters
    ----------
    row_solver : {"auto", "direct", "cg"}, default "auto"
        ``"direct"`` solves each row to a relative error of at most 1e-5 in float32 and 1e-8 in
        float64. If the terms of the right-hand side cancel, the error may be 1e-11 of the sum of
        their absolute contributions. For a row of d entries it is a Cholesky factorisation of size
        d (d^2 n_factors + d^3/3 flops) if d < n_factors, and otherwise of size n_factors
        (d n_factors^2 + n_factors^3/3 flops), refined with float64 residuals if an error estimate
        requires it. If the refinement does not converge, the row is solved in float64, if necessary
        by an orthogonal factorisation.

        ``"auto"`` solves rows with a direct cost above 57 d n_factors flops (for 64 factors, those
        of about 16 entries or more) by conjugate gradients from the previous factors instead. In
        whitened coordinates, where the matrix is I + Z'Z, the objective exceeds the minimum over
        the row by r'(I + Z'Z)^-1 r <= |r|^2 for the residual r. The iteration stops when |r|^2 is
        at most a share of the last epoch's decrease of the objective, 2% divided by the number of
        rows and columns, so that all rows and columns together lose at most 2% of it in a
        half-step. The first epoch is taken to decrease the objective by a tenth. A row that 20
        steps do not suffice for, or whose rounding errors are too large, is solved directly.

        ``"cg"`` runs ``cg_steps`` steps of conjugate gradients, preconditioned by the Gramian. It
        never increases the objective.
    cg_steps : int, default 2
        Steps of ``"cg"``, >= 1. The first epoch uses one more.
    acceleration : {"nesterov", None}, default "nesterov"
        An epoch starts from Q + beta (Q - Q_previous) instead of Q, with the beta of Nesterov's
        method and restarts (Mitchell, Ye & De Sterck 2020, arXiv 1810.05846). Where the objective
        rose, the epoch is repeated without extrapolation, so that it never increases. A run may
        still end in another local minimum than without acceleration, and rarely in a much higher
        one. Between the half-steps of an epoch without extrapolation, P T^-1' and Q T replace P and
        Q, with the T for which the penalty is least and the product the same. This is left out with
        ``nonnegative=True`` and with centers of `L2`.
    array_folder : str or None, default None
        An existing folder on a disk. With it, arrays of 1 MB or more with numbers for each entry,
        or a row of factors for each row or column of the data, are in files of this folder, so that
        they may exceed the memory, with the same result. The system writes pages of them to the
        disk when memory is short, and removes a file when its array is freed or the process ends.
        The factors of the solution are such arrays, too. During the epochs the files need up to
        2 n_rows + 3 n_cols + 2 max(n_rows, n_cols) times ``n_factors`` numbers (rounded up to a
        multiple of 8), and more with ``evaluate_every`` > 1, a callback, a checkpoint, biases and
        centers. They need 4 bytes for each entry, and 16 more with ``data="targets"`` or
        ``"weights"``. About 100 bytes for each row and column, and for a moment 1 byte for each
        entry, are in memory, and so is the matrix, unless it is mapped, as by `Pairings.open`. The
        files are read and written in order, except for the factors of the side that is not solved:
        the memory should hold them. With a checkpoint the rows of an unfinished epoch are saved
        beside it, with the suffix ``.part``, so that a run that is continued with the same
        ``checkpoint`` has lost no more than one half-step.

    Raises
    ------
    SingularRowError
        By `solve`, if a row has no unique solution, because its entries do not span all factors
        and it is not regularised.

    Warns
    -----
    ConvergenceWarning
        At the first row of a run that does not converge, which is possible with
        ``Objective(nonnegative=True)`` only.

    Notes
    -----
    Rows with the same entries have the same solution. Where many rows or columns of at most 8
    entries are equal, such as the columns of tracks that occur in the same single playlist, each
    group of them is solved once and counted as often as it occurs, which gives the same half-steps
    up to rounding. This requires equal factors at the start, which ``init="spectral"`` has, and an
    objective with a penalty and without biases and centers.

    The value of the objective after an epoch is computed while the columns are solved, as the sum
    of |x^|^2 + sum_k (w_k (r_k - x_k)^2 - a_k x_k^2) over the columns and the penalty of the rows,
    with the solution x^ in whitened coordinates, its predictions x_k, and a_k = a0 for
    ``unobserved="missing"``, otherwise 0. Each column is near its minimum, where this does not
    depend on rounding errors of x^ to first order: in float32 it differs from `Objective.value` by
    about 1e-8 of it, and by up to 1e-5 if the penalty is so small that the loss is nearly 0. The
    value of the last epoch of a run has no such error. Neither has any with biases, centers or
    ``nonnegative=True``, with float32 and a tol between 0 and 1e-5, or without acceleration and
    ``row_solver="auto"``, which take another pass over the entries.

    With ``Objective(nonnegative=True)`` every row is solved by coordinate descent and an active-set
    method (Lawson & Hanson 1974, chapter 23), independently of ``row_solver``, starting from the
    absolute values of the initial factors.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2, Objective
    >>> from twofold.solvers import ALS
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> solution = ALS(n_factors=2, max_epochs=5, rng=0).solve(Objective(regularizer=L2(0.1)), R)
    >>> solution.row_factors.shape, solution.history[-1].total < solution.history[0].total
    ((2, 2), True)
    """

    row_solver: Literal["auto", "direct", "cg"] = "auto"
    cg_steps: int = 2
    acceleration: Literal["nesterov"] | None = "nesterov"
    array_folder: str | None = None

    supports: ClassVar[Support] = Support(losses=(SquaredLoss,), regularizers=(L2,))

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_choice(self.row_solver, "row_solver", ("auto", "direct", "cg"))
        check_whole(self.cg_steps, "cg_steps", 1)
        if self.acceleration is not None:
            check_choice(self.acceleration, "acceleration", ("nesterov",))
        folder = self.array_folder
        if folder is not None and not (isinstance(folder, str) and os.path.isdir(folder)):
            raise InvalidInputError(f"array_folder is {folder!r}: give an existing folder, as text")

    def array_memory(self) -> AbstractContextManager[None]:
        """Return the context in which large arrays are in files of ``array_folder``."""
        return arrays_in(self.array_folder)

    @property
    def saves_partial_epochs(self) -> bool:
        """Whether the rows of an unfinished epoch are saved: with ``array_folder``."""
        return self.array_folder is not None

    def working_problem(self, problem: Problem, resumed: Solution | None) -> Problem:
        """Return the problem in which equal rows and columns are merged."""
        objective = problem.objective
        if resumed is not None:
            is_merged = bool(resumed.memory.get("is_merged", False))
        else:  # Without a penalty a row may be singular, and an error describes its entries.
            is_merged = bool(objective.regularizer.weight) and not objective.biases
            is_merged = is_merged and type(self).step is ALS.step
        return MergedProblem.reduced(problem) if is_merged else problem

    def new_memory(self, problem: Problem, point: Point) -> ALSMemory:
        """Return the initial memory."""
        previous = point.cols if self.acceleration else point.cols[:0]
        return ALSMemory(previous, 0.0, 0.0, isinstance(problem, MergedProblem))

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the operations on its factors."""
        operations = Operations(problem, state.point.n_factors, self.n_threads)
        return state.at(state.point, workspace=operations)

    def step(self, problem: Problem, state: State) -> State:
        """Solve for all rows, then for all columns."""
        operations: Operations = state.workspace
        point, needs_value = state.point, self._needs_value
        if needs_value and point.value is None:
            point = operations.evaluated(point)
        run = Extrapolation(state.memory.previous, state.memory.t)
        if run.momentum and state.partial is not None and state.partial.has(_PLAIN):
            run = Extrapolation(run.previous, 1.0)  # The extrapolated epoch was rejected.
        options = self._row_options(operations, point, state)
        start = run.extrapolated(operations, point.cols)
        new, start, report = self._epoch(operations, point, start, options, state)
        if not needs_value:
            return state.at(new)
        turning = run.turning_sums(operations, start, point.cols, new.cols)
        new = _evaluated(operations, new, report)
        if run.momentum and not _total(new) <= _total(point):
            run = Extrapolation(run.previous, 1.0)
            del new, start, turning, report  # as large as those of the repeated epoch
            new, start, report = self._epoch(operations, point, point.cols, options, state)
            new, turning = _evaluated(operations, new, report), None
        gain = _total(point) - _total(new)
        if not self.acceleration:
            return state.at(new, memory=replace(state.memory, gain=gain))
        cols = point.cols if run.momentum else start
        decrease = gain / max(abs(_total(new)), 1e-300)
        run = run.advanced(operations, turning, cols, decrease)
        memory = replace(state.memory, previous=run.previous, t=run.t, gain=gain)
        return state.at(new, memory=memory)

    def _epoch(
        self,
        operations: Operations,
        point: Point,
        start: Factors,
        options: RowOptions,
        state: State,
    ) -> tuple[Point, Factors, Any]:
        """Return the point after both half-steps from the columns ``start``, and these columns.

        The third result is the report of the columns, if it has sums. The factors are balanced
        between the half-steps unless the start is extrapolated, or the coordinates of the factors
        have a meaning.
        """
        k, is_plain = point.n_factors, start is point.cols
        known = point.gramians[1] if is_plain else None

        def half() -> Factors:
            return operations.solved("row", start, point.rows, known, options)[0]

        name = _PLAIN if is_plain else "extrapolated"
        rows = half() if state.partial is None else state.partial.result(name, half)
        if self.acceleration and is_plain and _turns_freely(operations.objective):
            rows, start = balanced(operations, rows, start, self.n_factors)
        product = None
        if operations.objective.unobserved_weight:
            product = operations.routed_gramian("col", rows)
        options = options._replace(needs_sums=self._needs_sums(operations.objective))
        cols, report = operations.solved("col", rows, start, product, options)
        if operations.unsettled and not operations.has_warned:
            operations.has_warned = True
            axis, first, n = operations.unsettled[0]
            warn(
                f"in epoch {state.epoch + 1}, {axis} {first} and {n - 1} others did not converge, "
                "so their factors are approximate: increase the regularizer's weight (later epochs "
                "do not warn)",
                ConvergenceWarning,
            )
        return Point(rows, cols, k, gramians=(product, None)), start, report

    @property
    def _needs_value(self) -> bool:
        """Whether an epoch uses the value of the objective."""
        return bool(self.acceleration) or self.row_solver == "auto"

    def _needs_sums(self, objective: Terms) -> bool:
        """Return whether the value of an epoch is computed from the report of its columns."""
        is_exact = self.dtype == "float32" and 0.0 < self.tol < _LEAST_TOL
        has_sums = not (objective.nonnegative or objective.has_centers or objective.biases)
        return self._needs_value and has_sums and not is_exact

    def _row_options(self, operations: Operations, point: Point, state: State) -> RowOptions:
        """Return how rows are solved; the excess is that of each row, and 0 for exact rows."""
        excess = 0.0
        if self.row_solver == "auto":
            gain = state.memory.gain if state.epoch else _FIRST_GAIN * _total(point)
            excess = max(_EXCESS * gain / max(operations.n_original, 1), 0.0)
        return RowOptions(self.row_solver, self.cg_steps + (state.epoch == 0), excess)


def _evaluated(operations: Operations, point: Point, report: Any) -> Point:
    """Return the point with its value, from the report of the columns where that knows it."""
    if report is not None:
        evaluated = operations.evaluated(point, report)
        if math.isfinite(_total(evaluated)):
            return replace(evaluated, rounded=evaluated.value)
    return operations.evaluated(point)


def _total(point: Point) -> float:
    value = point.rounded or point.value
    assert value is not None
    return value.total


def _turns_freely(objective: Terms) -> bool:
    """Whether the objective is the same in other coordinates of the factors."""
    return not (objective.nonnegative or objective.has_centers)
