"""Stochastic gradient descent, pair by pair, without races."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._checks import check_choice, check_real
from twofold._kernels.sgd import ADAGRAD, PLAIN, RUN, sgd_epoch
from twofold._threads import parallel
from twofold.objective import Objective, Problem
from twofold.solvers.base import Solver, Support
from twofold.solvers.state import State

__all__ = ["SGD"]

_BLOCKS = 16  # a side; not the number of threads, so that the bits do not depend on it


@dataclass(kw_only=True)
class SGD(Solver):
    """Stochastic gradient descent over the stored entries.

    One epoch visits every entry once. With slope g = w l'(r, p.q) an entry moves both its vectors
    from their old values:

        p <- p - eta_p (g q + lam s_u / m_u phi'(p)),   q <- q - eta_q (g p + lam s_i / m_i phi'(q))

    where m_u counts the entries of the row, so that one epoch sums to the gradient of the whole
    objective; a regulariser that is not smooth acts by its proximal step instead. Rows and columns
    are dealt into 16 x 16 blocks; blocks that share no row and no column run in parallel (Gemulla
    et al. 2011; Chin et al. 2015, LIBMF), so there are no races and the bits do not depend on the
    number of threads. The order of blocks and entries is drawn anew in each epoch. Rows without
    entries become zero.

    ``unobserved_weight`` > 0 is refused: its terms live on all cells, which one pass over the
    stored entries does not visit. Use GD or ALS.

    Parameters
    ----------
    learning_rate : float, default 0.1
        eta > 0.
    schedule : {"adagrad", "constant", "inverse-time"}, default "adagrad"
        "adagrad" divides eta by the root of the row's sum of mean squared slopes so far (Duchi et
        al. 2011; one sum for each row, as Chin et al. 2015); "inverse-time" divides it by 1 + decay
        * (epochs done).
    decay : float, default 0.1
        For ``schedule="inverse-time"``, >= 0 per epoch.
    """

    learning_rate: float = 0.1
    schedule: Literal["adagrad", "constant", "inverse-time"] = "adagrad"
    decay: float = 0.1

    supports: ClassVar[Support] = Support(unobserved_weight=False)

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        check_real(self.learning_rate, "learning_rate", above=0.0)
        check_choice(self.schedule, "schedule", ("adagrad", "constant", "inverse-time"))
        check_real(self.decay, "decay", minimum=0.0)

    def prepare(self, problem: Problem, state: State) -> State:
        """Deal the entries into blocks and set rows without entries to zero."""
        memory = dict(state.memory)
        factors = []
        for side, own, name in (
            (problem.rows, state.row_factors, "row_sums"),
            (problem.cols, state.col_factors, "col_sums"),
        ):
            memory.setdefault(name, np.ones(side.n, dtype=self.dtype))
            factors.append(np.where(side.counts[:, None] > 0, own, own.dtype.type(0)))
        blocks = _Blocks(problem, np.random.default_rng([state.seed, 0, 1]), self.dtype)
        return State(factors[0], factors[1], state.epoch, state.seed, memory, blocks)

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        blocks: _Blocks = state.workspace
        P, Q = state.row_factors.copy(), state.col_factors.copy()
        row_sums, col_sums = state.memory["row_sums"].copy(), state.memory["col_sums"].copy()
        rate = self.learning_rate
        if self.schedule == "inverse-time":
            rate /= 1.0 + self.decay * state.epoch
        rounds, starts, strides = blocks.order(state.epoch_rng())
        loss_code, parameter, _, loss_address = problem.loss_call
        penalty_code, _, penalty_address = problem.penalty_call
        with parallel(self.n_threads):
            sgd_epoch(
                _BLOCKS, blocks.start, rounds, starts, strides, blocks.rows, blocks.cols,
                blocks.targets, blocks.weights, loss_code, parameter, loss_address,
                blocks.row_decay, blocks.col_decay, penalty_code, penalty_address,
                problem.objective.regularizer.smooth,
                ADAGRAD if self.schedule == "adagrad" else PLAIN, rate, row_sums, col_sums, P, Q,
            )  # fmt: skip
        return state.moved(P, Q, row_sums=row_sums, col_sums=col_sums)


class _Blocks:
    """The stored entries in the order of blocks, and the penalty of one visit."""

    def __init__(self, problem: Problem, rng: np.random.Generator, dtype: str) -> None:
        rows, cols = problem.rows, problem.cols
        row_block = _dealt(rows.counts, rng)
        col_block = _dealt(cols.counts, rng)
        row = np.repeat(np.arange(rows.n, dtype=np.int32), rows.counts)
        block = row_block[row] * np.uint8(_BLOCKS) + col_block[rows.indices]
        order = np.argsort(block, kind="stable")
        counts = np.bincount(block, minlength=_BLOCKS**2)
        self.start = np.concatenate([[0], np.cumsum(counts)])
        self.rows, self.cols = row[order], rows.indices[order]
        self.targets, self.weights = (
            values if values.size == 1 else values[order] for values in (rows.targets, rows.weights)
        )
        self.row_decay, self.col_decay = (
            (side.scale / np.maximum(side.counts, 1)).astype(dtype) for side in (rows, cols)
        )

    def order(self, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Draw an epoch's order of rounds, and for each block where to start and how to stride."""
        rounds = rng.permutation(_BLOCKS)
        n_runs = np.maximum(-(-np.diff(self.start) // RUN), 1)
        starts = rng.integers(n_runs)
        strides = rng.integers(1, np.maximum(n_runs, 2))
        while (shared := np.gcd(strides, n_runs) > 1).any():
            strides[shared] = rng.integers(1, np.maximum(n_runs[shared], 2))
        return rounds, starts, strides


def _dealt(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Deal rows into blocks with about equal numbers of entries: the block of each row."""
    order = rng.permutation(counts.size)
    total = np.cumsum(counts[order])
    block = np.empty(counts.size, dtype=np.uint8)
    whole = max(int(total[-1]) if total.size else 0, 1)
    block[order] = np.minimum((total - counts[order]) * _BLOCKS // whole, _BLOCKS - 1)
    return block
