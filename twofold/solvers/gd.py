"""Gradient descent: full batch or mini-batches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._checks import check_real, check_whole
from twofold._kernels.proximal import proximal_rows
from twofold._threads import parallel
from twofold.exceptions import InvalidInputError
from twofold.objective import Objective, Problem, Side
from twofold.solvers.base import Solver
from twofold.solvers.state import State

__all__ = ["GD"]

_SUFFICIENT = 0.5  # of the decrease that a step promises
_SHRINK, _GROW = 0.5, 2.0


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
    """

    max_epochs: int = 100
    learning_rate: float | None = None
    n_batches: int = 1

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

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        if self.learning_rate is None:
            return self._backtrack(problem, state)
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

    def _backtrack(self, problem: Problem, state: State) -> State:
        P, Q = state.row_factors, state.col_factors
        smooth = problem.objective.regularizer.smooth

        def value(P: NDArray[Any], Q: NDArray[Any]) -> float:
            found = problem.value(P, Q, n_threads=self.n_threads)
            return found.total if smooth else found.loss + found.unobserved

        memory = state.memory
        eta = float(memory["learning_rate"][0]) if "learning_rate" in memory else 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads, smooth_part=True)
            if not np.isfinite(_size(dP) + _size(dQ)):
                return state.moved(dP, dQ)  # which the loop sees, and calls it divergence
            start = value(P, Q)
            eta = eta * _GROW or self._first_rate(P, Q, dP, dQ)
            while eta > 0.0:
                new_P, new_Q = self._move(problem, P, Q, dP, dQ, eta)
                slope, length = _along(dP, new_P - P, dQ, new_Q - Q)
                bound = slope + (1.0 - _SUFFICIENT) * length / eta
                if value(new_P, new_Q) <= start + bound or length == 0.0:
                    break
                eta *= _SHRINK
                if eta * max(_size(dP), _size(dQ)) < np.finfo(P.dtype).eps * max(
                    _size(P), _size(Q)
                ):
                    # No step that can be told from rounding goes down: this is the bottom.
                    return state.moved(P, Q, learning_rate=np.array([eta]))
        return state.moved(new_P, new_Q, learning_rate=np.array([eta]))

    @staticmethod
    def _first_rate(P: NDArray[Any], Q: NDArray[Any], dP: NDArray[Any], dQ: NDArray[Any]) -> float:
        """Return the rate that moves the factors by about their own size."""
        return max(_size(P), _size(Q), 1e-3) / max(_size(dP), _size(dQ), 1e-300)


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
