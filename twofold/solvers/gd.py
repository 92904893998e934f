"""Gradient descent: full batch or mini-batches."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_flags, check_real, check_whole
from twofold._kernels.aligned import empty_aligned
from twofold._kernels.arguments import PenaltyCall
from twofold._kernels.evaluate import proximal_rows
from twofold._kernels.threads import check_n_threads, run
from twofold.exceptions import InvalidInputError
from twofold.objective import Margin, Objective, ObjectiveValue, Point, Problem, Side
from twofold.objective.evaluation import evaluate_point, gradient_of_batch, value_and_gradient
from twofold.solvers.base import Solver
from twofold.solvers.state import State, without_empty_rows

__all__ = ["GD"]

_SUFFICIENT_DECREASE = 0.5  # accepted share of the predicted decrease
_SHRINK, _GROW = 0.5, 1.25


Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class GDMemory:
    """State of GD that is needed to continue a run exactly."""

    learning_rate: float
    """Learning rate of the last step; 0 before the first step."""
    momentum: float
    """t of Nesterov's sequence."""
    last_rows: Array
    """P before the last step, padded; empty without momentum."""
    last_cols: Array
    """Q before the last step, padded; empty without momentum."""


@dataclass(kw_only=True)
class GD(Solver):
    """Gradient descent on both factors at once.

    One epoch is ``n_batches`` simultaneous steps

        (P, Q) <- prox(P - eta dF/dP, Q - eta dF/dQ)

    with the gradient of the whole objective, or of a random batch of the stored entries and the
    same share of the other terms. prox is the proximal step of a regulariser that is not smooth,
    and the identity otherwise. Every loss, regulariser and ``unobserved_weight`` is supported. The
    factors of rows without entries start at zero, or biases and rows with centers at these: their
    solution, apart from biases and centers with ``unobserved_weight`` > 0.

    Parameters
    ----------
    max_epochs : int, default 100
        As for every solver. The default is larger, because one epoch makes less progress.
    learning_rate : float or None, default None
        eta > 0. None determines it in every epoch by backtracking (Armijo; Beck & Teboulle 2009,
        section 4, for a regulariser that is not smooth), and the objective never increases. The
        notebook's ``run_epoch`` with step ``alpha`` is ``learning_rate=alpha / 2`` with
        ``exponent=1``.
    n_batches : int, default 1
        Number of random batches of the stored entries, >= 1, drawn in each epoch. More than one
        requires a learning_rate.
    momentum : bool or None, default None
        Start each step at the extrapolated point x + beta (x - last x), x = (P, Q), with Nesterov's
        beta (Beck & Teboulle 2009, eq. 4.2, 4.3). The momentum restarts if a step would increase
        the objective or, with a given learning_rate, if the momentum and the negative gradient
        point in opposite directions (O'Donoghue & Candes 2015, section 3.2). None enables it if
        learning_rate is None. It requires ``n_batches=1``.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.solvers import GD
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> solution = GD(n_factors=2, max_epochs=20, rng=0).solve(Objective(), R)
    >>> solution.row_factors.shape, solution.history[-1].total < solution.history[0].total
    ((2, 2), True)
    """

    max_epochs: int = 100
    learning_rate: float | None = None
    n_batches: int = 1
    momentum: bool | None = None

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_whole(self.n_batches, "n_batches", 1)
        if self.momentum is not None:
            check_flags(momentum=self.momentum)
        if self.learning_rate is not None:
            check_real(self.learning_rate, "learning_rate", above=0.0)
        elif self.n_batches > 1:
            raise InvalidInputError(
                f"n_batches is {self.n_batches}: give a learning_rate, because backtracking needs "
                "the full gradient"
            )
        if self.momentum and self.n_batches > 1:
            raise InvalidInputError(
                f"n_batches is {self.n_batches}: momentum=True needs n_batches=1, because the "
                "gradients of batches are too noisy"
            )

    @property
    def _has_momentum(self) -> bool:
        return self.learning_rate is None if self.momentum is None else self.momentum

    def new_memory(self, problem: Problem, point: Point) -> GDMemory:
        """Return the memory before the first step."""
        rows, cols = point.rows, point.cols
        if not self._has_momentum:
            rows, cols = rows[:0], cols[:0]
        return GDMemory(0.0, 1.0, rows, cols)

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the gradient at its point or, for a plain step, the next point."""
        if state.epoch == 0:
            state = state.at(without_empty_rows(problem, state.point))
        if self.n_batches > 1:
            return state
        return self._evaluated_state(problem, state, state.point, state.memory)

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        # A step that is too long overflows, which the outer loop reports as a divergence.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.n_batches > 1:
                return self._batch_steps(problem, state)
            if self.learning_rate is None:
                return self._line_search_step(problem, state)
            if self._has_momentum:
                return self._momentum_step(problem, state)
            P, Q = state.workspace
            return self._evaluated_state(
                problem, state, _with_factors(state.point, P, Q), state.memory
            )

    def _evaluated_state(
        self, problem: Problem, state: State, point: Point, memory: GDMemory
    ) -> State:
        """Return the state at a point, with its value and the workspace of the next step.

        The workspace is the gradient, computed in the same pass. With a given learning_rate and
        without momentum, it is the factors after the next step.
        """
        rate = 0.0
        if self.learning_rate is not None and not self._has_momentum:
            rate = self.learning_rate
        point, for_P, for_Q = value_and_gradient(problem, point, self.n_threads, rate=rate)
        return state.at(point, memory=memory, workspace=(for_P, for_Q))

    def _batch_steps(self, problem: Problem, state: State) -> State:
        assert self.learning_rate is not None
        point = state.point
        for batch in self._batches(problem, state):
            dP, dQ = gradient_of_batch(problem, point, batch, self.n_threads)
            share = batch[0].entries.indices.size / max(problem.n_entries, 1)
            point = self._proximal_step(problem, point, dP, dQ, self.learning_rate, share)
        return state.at(point)

    def _batches(self, problem: Problem, state: State) -> list[tuple[Side, Side]]:
        n = problem.n_entries
        n_batches = min(self.n_batches, max(n, 1))
        batch_of = state.epoch_rng().permutation(np.arange(n) % self.n_batches)
        batch_of_column_entry = batch_of[problem.column_order]
        return [
            (
                problem.rows.subset(np.flatnonzero(batch_of == batch)),
                problem.cols.subset(np.flatnonzero(batch_of_column_entry == batch)),
            )
            for batch in range(n_batches)
        ]

    def _proximal_step(
        self, problem: Problem, point: Point, dP: Array, dQ: Array, rate: float, share: float = 1.0
    ) -> Point:
        """Return the point after a proximal step against the gradient."""
        penalties = problem.penalties(point.n_factors)

        def step_side(side: Margin, factors: Array, gradient: Array, penalty: PenaltyCall) -> Array:
            out = empty_aligned(factors.shape, factors.dtype)
            run(
                proximal_rows, side.bounds.size - 1, check_n_threads(self.n_threads), side.bounds,
                side.scale * share, penalty, float(rate), factors, gradient, out,
            )  # fmt: skip
            return out

        P = step_side(problem.rows, point.rows, dP, penalties.rows)
        Q = step_side(problem.col_margin, point.cols, dQ, penalties.cols)
        return _with_factors(point, P, Q)

    def _extrapolated(self, state: State) -> tuple[Point, float]:
        """Return the extrapolated point and the next t of Nesterov's sequence."""
        point, memory = state.point, state.memory
        t = memory.momentum
        next_t = _next_t(t)
        if t == 1.0 or not self._has_momentum:  # First step of the momentum, or no momentum.
            return point, next_t
        beta = point.rows.dtype.type((t - 1.0) / next_t)
        P = point.rows + beta * (point.rows - memory.last_rows)
        Q = point.cols + beta * (point.cols - memory.last_cols)
        return _with_factors(point, P, Q), next_t

    def _momentum_step(self, problem: Problem, state: State) -> State:
        """Take a step with momentum and the given learning_rate."""
        assert self.learning_rate is not None
        point, t = self._extrapolated(state)
        if point is state.point:
            dP, dQ = state.workspace
        else:
            point, dP, dQ = value_and_gradient(problem, point, self.n_threads)
        new = self._proximal_step(problem, point, dP, dQ, self.learning_rate)
        restart, _ = _inner_products(point.rows - new.rows, new.rows - state.point.rows)
        restart_cols, _ = _inner_products(point.cols - new.cols, new.cols - state.point.cols)
        t = 1.0 if restart + restart_cols > 0.0 else t
        return self._state_after(problem, state, new, self.learning_rate, t)

    def _state_after(
        self, problem: Problem, state: State, point: Point, rate: float, t: float
    ) -> State:
        """Return the state after a step."""
        memory = replace(state.memory, learning_rate=float(rate))
        if self._has_momentum:
            old = state.point
            memory = replace(memory, momentum=t, last_rows=old.rows, last_cols=old.cols)
            if t != 1.0:  # The next step needs the gradient at the extrapolated point instead.
                if point.value is None:
                    point = evaluate_point(problem, point, self.n_threads)
                return replace(state, point=point, memory=memory, workspace=None)
        return self._evaluated_state(problem, state, point, memory)

    def _line_search_step(self, problem: Problem, state: State) -> State:
        """Take a step with backtracking from the extrapolated or, failing that, current point."""
        eta = state.memory.learning_rate * _GROW
        point, t = self._extrapolated(state)
        current = state.point.value
        assert current is not None
        while True:
            is_extrapolated = point is not state.point
            if is_extrapolated or state.workspace is None:
                point, dP, dQ = value_and_gradient(problem, point, self.n_threads)
            else:
                dP, dQ = state.workspace
            found = self._backtrack(problem, point, dP, dQ, eta)
            if found is None:  # The outer loop reports a divergence.
                nan = np.nan * dP[:1, :1]
                return state.at(_with_factors(point, dP * nan, dQ * nan))
            new, eta = found
            assert new.value is not None
            if not is_extrapolated or new.value.total <= current.total:
                return self._state_after(problem, state, new, eta, t)
            point, t = state.point, _next_t(1.0)

    def _backtrack(
        self, problem: Problem, point: Point, dP: Array, dQ: Array, eta: float
    ) -> tuple[Point, float] | None:
        """Reduce the rate from eta until the decrease is sufficient.

        Returns the new point and the rate, or None if the gradient is not finite.
        """
        smooth = problem.objective.regularizer.smooth

        def smooth_value(value: ObjectiveValue | None) -> float:
            assert value is not None
            return value.total if smooth else value.loss + value.unobserved

        slope_size, size = (
            max(_max_abs(dP), _max_abs(dQ)),
            max(_max_abs(point.rows), _max_abs(point.cols)),
        )
        if not np.isfinite(slope_size):
            return None
        if slope_size == 0.0 and smooth:
            return point, eta  # The point is stationary.
        eta = eta or max(size, 1e-3) / max(
            slope_size, 1e-30
        )  # The step is as large as the factors.
        while True:
            new = self._proximal_step(problem, point, dP, dQ, eta)
            slope, length = _inner_products(dP, new.rows - point.rows)
            slope_cols, length_cols = _inner_products(dQ, new.cols - point.cols)
            slope, length = slope + slope_cols, length + length_cols
            new = evaluate_point(problem, new, self.n_threads)
            bound = slope + (1.0 - _SUFFICIENT_DECREASE) * length / eta
            if smooth_value(new.value) <= smooth_value(point.value) + bound or length == 0.0:
                return new, eta
            eta *= _SHRINK
            if eta * slope_size < np.finfo(dP.dtype).eps * size or eta < 1e-300:
                # No step above rounding error decreases the objective: the point is a minimum.
                return point, eta


def _with_factors(point: Point, P: Array, Q: Array) -> Point:
    """Return a point of the same layout with other factors."""
    return Point(P, Q, point.n_factors)


def _next_t(t: float) -> float:
    return 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * t * t)))


def _max_abs(factors: Array) -> float:
    return float(np.abs(factors).max(initial=0.0))


def _inner_products(gradient: Array, move: Array) -> tuple[float, float]:
    """Return gradient . move and |move|^2, summed in float64."""
    slope = float(np.sum(gradient * move, dtype=np.float64))
    return slope, float(np.sum(move * move, dtype=np.float64))
