"""Gradient descent: full batch or mini-batches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._checks import check_real, check_whole
from twofold._kernels.proximal import proximal_rows
from twofold._threads import parallel
from twofold.exceptions import InvalidInputError
from twofold.objective import Objective, ObjectiveValue, Problem, Side
from twofold.solvers.base import Solver
from twofold.solvers.state import State

__all__ = ["GD"]

_SUFFICIENT = 0.5  # of the decrease that a step promises
_SHRINK, _GROW = 0.5, 1.25


@dataclass(kw_only=True)
class GD(Solver):
    """Gradient descent on both factors at once.

    One epoch is ``n_batches`` simultaneous steps

        (P, Q) <- prox(P - eta dF/dP, Q - eta dF/dQ)

    with the gradient of the whole objective, or of a random batch of the stored entries and the
    same share of the other terms; prox is the proximal step of a regulariser that is not smooth,
    and nothing otherwise. Supports every loss, regulariser and ``unobserved_weight``.

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

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        if self.learning_rate is None:
            return self._found_step(problem, state)
        if self.momentum:
            return self._given_step(problem, state)
        P, Q = state.row_factors, state.col_factors
        # A step that is too long overflows: the loop looks at the objective.
        with np.errstate(over="ignore", invalid="ignore"):
            for batch in self._batches(problem, state):
                dP, dQ = problem.gradient(
                    P, Q, n_threads=self.n_threads, smooth_part=True, batch=batch
                )
                share = batch[0].indices.size / problem.n_entries if batch else 1.0
                P, Q = self._move(problem, P, Q, dP, dQ, self.learning_rate, share)
        return state.moved(P, Q)

    def _batches(self, problem: Problem, state: State) -> list[tuple[Side, Side] | None]:
        n = problem.n_entries
        if self.n_batches == 1 or n == 0:
            return [None]
        batch_of = state.epoch_rng().permutation(np.arange(n) % self.n_batches)
        batch_of_column_entry = batch_of[problem.column_order]
        return [
            (
                problem.rows.subset(np.flatnonzero(batch_of == batch)),
                problem.cols.subset(np.flatnonzero(batch_of_column_entry == batch)),
            )
            for batch in range(min(self.n_batches, n))
        ]

    def _move(
        self,
        problem: Problem,
        P: NDArray[Any],
        Q: NDArray[Any],
        dP: NDArray[Any],
        dQ: NDArray[Any],
        rate: float,
        share: float = 1.0,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        eta = P.dtype.type(rate)
        P, Q = P - eta * dP, Q - eta * dQ
        if not problem.objective.regularizer.smooth:
            code, _, address = problem.penalty_call
            with parallel(self.n_threads):
                for factors, side in ((P, problem.rows), (Q, problem.cols)):
                    proximal_rows(side.bounds, side.scale * (rate * share), code, address, factors)
        return P, Q

    def _ahead(self, state: State) -> tuple[NDArray[Any], NDArray[Any], float]:
        """Return the point to step from, and the next t of Nesterov's sequence."""
        P, Q, memory = state.row_factors, state.col_factors, state.memory
        t = float(memory["momentum"][0]) if "momentum" in memory else 1.0
        following = _next_t(t)
        if t == 1.0 or self.momentum is False:  # it begins, or never does
            return P, Q, following
        beta = P.dtype.type((t - 1.0) / following)
        P = P + beta * (P - memory["last_row_factors"])
        Q = Q + beta * (Q - memory["last_col_factors"])
        return P, Q, following

    def _given_step(self, problem: Problem, state: State) -> State:
        """Step with momentum and the learning_rate that is given."""
        assert self.learning_rate is not None
        with np.errstate(over="ignore", invalid="ignore"):
            P, Q, t = self._ahead(state)
            dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads, smooth_part=True)
            new_P, new_Q = self._move(problem, P, Q, dP, dQ, self.learning_rate)
            slope, _ = _along(
                P - new_P, new_P - state.row_factors, Q - new_Q, new_Q - state.col_factors
            )
        return self._moved(state, new_P, new_Q, 1.0 if slope > 0.0 else t)

    @staticmethod
    def _moved(
        state: State, P: NDArray[Any], Q: NDArray[Any], t: float, **memory: NDArray[Any]
    ) -> State:
        return state.moved(
            P, Q, momentum=np.array([t]), last_row_factors=state.row_factors,
            last_col_factors=state.col_factors, **memory,
        )  # fmt: skip

    def _found_step(self, problem: Problem, state: State) -> State:
        """Step with a rate that is found, from ahead if that goes down, and else from here."""
        memory = state.memory
        eta = float(memory["learning_rate"][0]) * _GROW if "learning_rate" in memory else 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            here = problem.value(state.row_factors, state.col_factors, n_threads=self.n_threads)
            P, Q, t = self._ahead(state)
            while True:
                is_ahead = P is not state.row_factors
                found = self._backtrack(problem, P, Q, eta, None if is_ahead else here)
                if found is None:  # which the loop sees, and calls it divergence
                    return state.moved(np.full_like(P, np.nan), np.full_like(Q, np.nan))
                new_P, new_Q, eta, total = found
                if not is_ahead or total <= here.total:
                    break
                P, Q, t = state.row_factors, state.col_factors, _next_t(1.0)
        rate = np.array([eta])
        if self.momentum is False:
            return state.moved(new_P, new_Q, learning_rate=rate)
        return self._moved(state, new_P, new_Q, t, learning_rate=rate)

    def _backtrack(
        self,
        problem: Problem,
        P: NDArray[Any],
        Q: NDArray[Any],
        eta: float,
        here: ObjectiveValue | None,
    ) -> tuple[NDArray[Any], NDArray[Any], float, float] | None:
        """Step from (P, Q) with the first rate from eta down that goes down as far as it promises.

        Returns the factors, the rate and the objective there; None if the slope is not finite.
        """
        smooth = problem.objective.regularizer.smooth

        def part(value: ObjectiveValue) -> float:
            return value.total if smooth else value.loss + value.unobserved

        dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads, smooth_part=True)
        if not np.isfinite(_size(dP) + _size(dQ)):
            return None
        here = here or problem.value(P, Q, n_threads=self.n_threads)
        eta = eta or self._first_rate(P, Q, dP, dQ)
        while True:
            new_P, new_Q = self._move(problem, P, Q, dP, dQ, eta)
            slope, length = _along(dP, new_P - P, dQ, new_Q - Q)
            bound = slope + (1.0 - _SUFFICIENT) * length / eta
            there = problem.value(new_P, new_Q, n_threads=self.n_threads)
            if part(there) <= part(here) + bound or length == 0.0:
                return new_P, new_Q, eta, there.total
            eta *= _SHRINK
            if eta * max(_size(dP), _size(dQ)) < np.finfo(P.dtype).eps * max(_size(P), _size(Q)):
                # No step that can be told from rounding goes down: this is the bottom.
                return P, Q, eta, here.total

    @staticmethod
    def _first_rate(P: NDArray[Any], Q: NDArray[Any], dP: NDArray[Any], dQ: NDArray[Any]) -> float:
        """Return the rate that moves the factors by about their own size."""
        return max(_size(P), _size(Q), 1e-3) / max(_size(dP), _size(dQ), 1e-300)


def _next_t(t: float) -> float:
    return 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * t * t)))


def _size(factors: NDArray[Any]) -> float:
    return float(np.abs(factors).max(initial=0.0))


def _along(
    dP: NDArray[Any], move_P: NDArray[Any], dQ: NDArray[Any], move_Q: NDArray[Any]
) -> tuple[float, float]:
    """Inner product of gradient and move, and squared length of the move, in float64."""
    slope = length = 0.0
    for gradient, move in ((dP, move_P), (dQ, move_Q)):
        slope += float(np.sum(gradient * move, dtype=np.float64))
        length += float(np.sum(move * move, dtype=np.float64))
    return slope, length
