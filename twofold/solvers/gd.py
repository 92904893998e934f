"""Gradient descent: full batch or mini-batches."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_real, check_whole
from twofold._kernels.aligned import empty_aligned
from twofold._kernels.evaluate import proximal_rows
from twofold._kernels.threads import check_n_threads, run
from twofold.exceptions import InvalidInputError
from twofold.objective import Margin, Objective, ObjectiveValue, Point, Problem, Side
from twofold.objective.evaluation import evaluate_point, gradient_of_batch, value_and_gradient
from twofold.solvers.base import Solver
from twofold.solvers.state import State, without_empty_rows

__all__ = ["GD"]

_SUFFICIENT = 0.5  # of the decrease that a step promises
_SHRINK, _GROW = 0.5, 1.25


Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class GDMemory:
    """What GD needs to continue exactly."""

    learning_rate: float
    """That of the last step; 0 before the first one."""
    momentum: float
    """t of Nesterov's sequence."""
    last_rows: Array
    """P before the last step, padded; without rows where there is no momentum."""
    last_cols: Array


@dataclass(kw_only=True)
class GD(Solver):
    """Gradient descent on both factors at once.

    One epoch is ``n_batches`` simultaneous steps

        (P, Q) <- prox(P - eta dF/dP, Q - eta dF/dQ)

    with the gradient of the whole objective, or of a random batch of the stored entries and the
    same share of the other terms; prox is the proximal step of a regulariser that is not smooth,
    and nothing otherwise. Supports every loss, regulariser and ``unobserved_weight``. Rows without
    entries start from zero, which is their solution.

    Parameters
    ----------
    max_epochs : int, default 100
        As for every solver, but more: a step costs little and goes less far.
    learning_rate : float or None, default None
        eta > 0. None finds it in every epoch by backtracking (Armijo; Beck & Teboulle 2009, section
        4, with a regulariser that is not smooth): the objective never increases. The notebook's
        ``run_epoch`` with step ``alpha`` is ``learning_rate=alpha / 2`` with ``exponent=1``.
    n_batches : int, default 1
        Random batches of the stored entries in each epoch, >= 1, drawn anew in each epoch. More
        than one needs a learning_rate.
    momentum : bool or None, default None
        Take the steps from (P, Q) + beta ((P, Q) - the last ones), with Nesterov's beta (Beck &
        Teboulle 2009, eq. 4.2, 4.3). It begins anew where a step would not go down: where it would
        raise the objective, or, with a given learning_rate, where the slope points backwards
        (O'Donoghue & Candes 2015, section 3.2). None is yes if the learning_rate is None. Full
        batches only.
    """

    max_epochs: int = 100
    learning_rate: float | None = None
    n_batches: int = 1
    momentum: bool | None = None

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_whole(self.n_batches, "n_batches", 1)
        if self.learning_rate is not None:
            check_real(self.learning_rate, "learning_rate", above=0.0)
        elif self.n_batches > 1:
            raise InvalidInputError(
                f"n_batches={self.n_batches} needs a learning_rate: a step that suits one batch "
                "can be wrong for the next, so there is none to be found"
            )
        if self.momentum and self.n_batches > 1:
            raise InvalidInputError(
                f"momentum=True needs n_batches=1, but it is {self.n_batches}: slopes of single "
                "batches are too noisy for it"
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
        """Return the state with the gradient at its point, or with the next point."""
        if state.epoch == 0:
            state = state.at(without_empty_rows(problem, state.point))
        if self.n_batches > 1:
            return state
        return self._evaluated(problem, state, state.point, state.memory)

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        # A step that is too long overflows, which the loop notices.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.n_batches > 1:
                return self._batch_steps(problem, state)
            if self.learning_rate is None:
                return self._found_step(problem, state)
            if self._has_momentum:
                return self._given_step(problem, state)
            P, Q = state.workspace
            return self._evaluated(problem, state, _at(state.point, P, Q), state.memory)

    def _evaluated(self, problem: Problem, state: State, point: Point, memory: GDMemory) -> State:
        """Return the state at a point, with its value and what the next step begins with.

        That is the gradient there, from the same pass; with a given learning_rate and without
        momentum it is the factors after the step.
        """
        rate = 0.0
        if self.learning_rate is not None and not self._has_momentum:
            rate = self.learning_rate
        point, by_P, by_Q = value_and_gradient(problem, point, self.n_threads, rate=rate)
        return state.at(point, memory=memory, workspace=(by_P, by_Q))

    def _batch_steps(self, problem: Problem, state: State) -> State:
        assert self.learning_rate is not None
        point = state.point
        for batch in self._batches(problem, state):
            dP, dQ = gradient_of_batch(problem, point, batch, self.n_threads)
            share = batch[0].entries.indices.size / max(problem.n_entries, 1)
            point = self._move(problem, point, dP, dQ, self.learning_rate, share)
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

    def _move(
        self, problem: Problem, point: Point, dP: Array, dQ: Array, rate: float, share: float = 1.0
    ) -> Point:
        """Return the point after a proximal step against the gradient."""

        def moved(side: Margin, factors: Array, gradient: Array) -> Array:
            out = empty_aligned(factors.shape, factors.dtype)
            run(
                proximal_rows, side.bounds.size - 1, check_n_threads(self.n_threads), side.bounds,
                side.scale * share, problem.penalty_call, float(rate), factors, gradient, out,
            )  # fmt: skip
            return out

        P = moved(problem.rows, point.rows, dP)
        return _at(point, P, moved(problem.col_margin, point.cols, dQ))

    def _ahead(self, state: State) -> tuple[Point, float]:
        """Return the point to step from, and the next t of Nesterov's sequence."""
        point, memory = state.point, state.memory
        t = memory.momentum
        following = _next_t(t)
        if t == 1.0 or not self._has_momentum:  # The momentum begins, or there is none.
            return point, following
        beta = point.rows.dtype.type((t - 1.0) / following)
        P = point.rows + beta * (point.rows - memory.last_rows)
        Q = point.cols + beta * (point.cols - memory.last_cols)
        return _at(point, P, Q), following

    def _given_step(self, problem: Problem, state: State) -> State:
        """Step with momentum and the learning_rate that is given."""
        assert self.learning_rate is not None
        point, t = self._ahead(state)
        if point is state.point:
            dP, dQ = state.workspace
        else:
            point, dP, dQ = value_and_gradient(problem, point, self.n_threads)
        new = self._move(problem, point, dP, dQ, self.learning_rate)
        back, _ = _along(point.rows - new.rows, new.rows - state.point.rows)
        back_cols, _ = _along(point.cols - new.cols, new.cols - state.point.cols)
        t = 1.0 if back + back_cols > 0.0 else t
        return self._after(problem, state, new, self.learning_rate, t)

    def _after(self, problem: Problem, state: State, point: Point, rate: float, t: float) -> State:
        """Return the state after a step."""
        memory = replace(state.memory, learning_rate=float(rate))
        if self._has_momentum:
            old = state.point
            memory = replace(memory, momentum=t, last_rows=old.rows, last_cols=old.cols)
            if t != 1.0:  # The next step begins ahead of this point, with the gradient there.
                if point.value is None:
                    point = evaluate_point(problem, point, self.n_threads)
                return replace(state, point=point, memory=memory, workspace=None)
        return self._evaluated(problem, state, point, memory)

    def _found_step(self, problem: Problem, state: State) -> State:
        """Step with a rate that is found, from ahead if that goes down, and else from here."""
        eta = state.memory.learning_rate * _GROW
        point, t = self._ahead(state)
        here = state.point.value
        assert here is not None
        while True:
            is_ahead = point is not state.point
            if is_ahead or state.workspace is None:
                point, dP, dQ = value_and_gradient(problem, point, self.n_threads)
            else:
                dP, dQ = state.workspace
            found = self._backtrack(problem, point, dP, dQ, eta)
            if found is None:  # The loop sees it, and reports a divergence.
                nan = np.nan * dP[:1, :1]
                return state.at(_at(point, dP * nan, dQ * nan))
            new, eta = found
            assert new.value is not None
            if not is_ahead or new.value.total <= here.total:
                return self._after(problem, state, new, eta, t)
            point, t = state.point, _next_t(1.0)

    def _backtrack(
        self, problem: Problem, point: Point, dP: Array, dQ: Array, eta: float
    ) -> tuple[Point, float] | None:
        """Step with the first rate from eta down that goes down as far as it promises.

        Returns the point there and the rate; None if the gradient is not finite.
        """
        smooth = problem.objective.regularizer.smooth

        def part(value: ObjectiveValue | None) -> float:
            assert value is not None
            return value.total if smooth else value.loss + value.unobserved

        slope_size, size = max(_size(dP), _size(dQ)), max(_size(point.rows), _size(point.cols))
        if not np.isfinite(slope_size):
            return None
        if slope_size == 0.0 and smooth:
            return point, eta  # It is stationary.
        eta = eta or max(size, 1e-3) / max(slope_size, 1e-30)  # Moves by about the factors' size.
        while True:
            new = self._move(problem, point, dP, dQ, eta)
            slope, length = _along(dP, new.rows - point.rows)
            slope_cols, length_cols = _along(dQ, new.cols - point.cols)
            slope, length = slope + slope_cols, length + length_cols
            new = evaluate_point(problem, new, self.n_threads)
            bound = slope + (1.0 - _SUFFICIENT) * length / eta
            if part(new.value) <= part(point.value) + bound or length == 0.0:
                return new, eta
            eta *= _SHRINK
            if eta * slope_size < np.finfo(dP.dtype).eps * size or eta < 1e-300:
                # No step that differs from rounding goes down: the point is a minimum.
                return point, eta


def _at(point: Point, P: Array, Q: Array) -> Point:
    """Return the point of other factors of the same layout."""
    return Point(P, Q, point.n_factors)


def _next_t(t: float) -> float:
    return 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * t * t)))


def _size(factors: Array) -> float:
    return float(np.abs(factors).max(initial=0.0))


def _along(gradient: Array, move: Array) -> tuple[float, float]:
    """Inner product of gradient and move, and squared length of the move, in float64."""
    slope = float(np.sum(gradient * move, dtype=np.float64))
    return slope, float(np.sum(move * move, dtype=np.float64))
