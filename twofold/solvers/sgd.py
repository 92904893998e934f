"""Stochastic gradient descent, pair by pair, without races."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._checks import check_choice, check_real
from twofold._kernels.aligned import empty_lines
from twofold._kernels.sgd import ADAGRAD, PLAIN, RUN, count_pairs, deal, pack, sgd_epoch, unpack
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

    ``unobserved_weight`` > 0 is refused: its slope by p is 2 a0 Q'Q p, which one pair does not see.
    To take a share of it at every visit costs n_factors^2 operations instead of n_factors, and
    needs Q'Q, which every other visit changes: kept for an epoch it is not that of the objective,
    and steps that use it overshoot where many rows move the same way. GD and ALS have the term
    exactly, at the price of one Gramian an epoch. Use them.

    Parameters
    ----------
    learning_rate : float or None, default None
        eta > 0. None takes what suits the scale of the data and the rank, with v the root mean
        square of the targets (1 without targets): 1.2 sqrt(v / n_factors) for "adagrad", and 0.05 /
        max(v, init_scale^2) divided by the largest weight for the others.
    schedule : {"adagrad", "constant", "inverse-time"}, default "adagrad"
        "adagrad" divides eta by the root of the row's sum of mean squared slopes so far, which
        begins at (mean weight)^2 v^3 (Duchi et al. 2011; one sum for each row, as Chin et al.
        2015); "inverse-time" divides it by 1 + decay * (epochs done).
    decay : float, default 0.1
        For ``schedule="inverse-time"``, >= 0 per epoch.
    init_scale : float, default 0.3
        As for every solver, but smaller: the start is noise, which SGD forgets slowly.
    """

    learning_rate: float | None = None
    schedule: Literal["adagrad", "constant", "inverse-time"] = "adagrad"
    decay: float = 0.1
    init_scale: float = 0.3

    supports: ClassVar[Support] = Support(unobserved_weight=False)

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        if self.learning_rate is not None:
            check_real(self.learning_rate, "learning_rate", above=0.0)
        check_choice(self.schedule, "schedule", ("adagrad", "constant", "inverse-time"))
        check_real(self.decay, "decay", minimum=0.0)

    def prepare(self, problem: Problem, state: State) -> State:
        """Deal the entries into blocks and set rows without entries to zero."""
        blocks = _Blocks(problem, np.random.default_rng([state.seed, 0, 1]), self.dtype)
        memory = dict(state.memory)
        factors = []
        for side, own, name in (
            (problem.rows, state.row_factors, "row_sums"),
            (problem.col_margin, state.col_factors, "col_sums"),
        ):
            memory.setdefault(name, np.full(own.shape[0], blocks.first_sum, dtype=self.dtype))
            factors.append(np.where(side.counts[:, None] > 0, own, own.dtype.type(0)))
        return State(factors[0], factors[1], state.epoch, state.seed, memory, blocks)

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        blocks: _Blocks = state.workspace
        rate = self.learning_rate
        if rate is None and self.schedule == "adagrad":
            rate = 1.2 * np.sqrt(blocks.scale / self.n_factors)
        elif rate is None:
            rate = 0.05 / (blocks.heaviest * max(blocks.scale, self.init_scale**2))
        if self.schedule == "inverse-time":
            rate /= 1.0 + self.decay * state.epoch
        row_sums, col_sums = state.memory["row_sums"].copy(), state.memory["col_sums"].copy()
        rounds, starts, strides = blocks.order(state.epoch_rng())
        loss_code, parameter, _, loss_address = problem.loss_call
        penalty_code, _, penalty_address = problem.penalty_call
        with parallel(self.n_threads):
            P, Q = blocks.packed(state)
            sgd_epoch(
                _BLOCKS, blocks.start, rounds, starts, strides, blocks.rows, blocks.cols,
                blocks.targets, blocks.weights, loss_code, parameter, loss_address,
                blocks.row_decay, blocks.col_decay, penalty_code, penalty_address,
                problem.objective.regularizer.smooth,
                ADAGRAD if self.schedule == "adagrad" else PLAIN, rate,
                state.row_factors.shape[1], row_sums, col_sums, P, Q,
            )  # fmt: skip
            P, Q = blocks.unpacked()
        return state.moved(P, Q, row_sums=row_sums, col_sums=col_sums)


class _Blocks:
    """The stored entries in the order of blocks, and the penalty of one visit.

    Rows and columns are numbered anew, block by block, so that no two threads share a cache line.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator, dtype: str) -> None:
        rows, cols = problem.rows, problem.col_margin
        row_block, col_block = _dealt(rows.counts, rng), _dealt(cols.counts, rng)
        self.row_order, self.col_order = (
            np.argsort(block, kind="stable").astype(np.int32) for block in (row_block, col_block)
        )
        n = rows.indices.size
        targets, weights = rows.targets, rows.weights
        self.scale = float(np.sqrt(np.mean(targets * targets))) if targets.any() else 1.0
        self.heaviest = float(weights.max(initial=0.0)) or 1.0
        mean_weight = float(weights.mean()) if weights.any() else 1.0
        self.first_sum = mean_weight**2 * self.scale**3
        self._packed: list[Any] = [None, None]
        self._seen: tuple[Any, Any] = (None, None)
        self._n_factors = 0
        self.start = np.zeros(_BLOCKS**2 + 1, np.int64)
        self.rows, self.cols = np.empty(n, np.int32), np.empty(n, np.int32)
        given = [rows.targets, rows.weights]
        places = np.empty(n if max(values.size for values in given) > 1 else 0, np.int64)
        count_pairs(rows.indptr, rows.indices, row_block, col_block, _BLOCKS, self.start[1:])
        np.cumsum(self.start, out=self.start)
        deal(
            rows.indptr, rows.indices, row_block, col_block, _numbers(self.row_order),
            _numbers(self.col_order), _BLOCKS, self.start[:-1].copy(), self.rows, self.cols, places,
        )  # fmt: skip
        self.targets, self.weights = (
            (values if values.size == 1 else values[places]).astype(dtype) for values in given
        )
        self.row_decay, self.col_decay = (
            (side.scale / np.maximum(side.counts, 1)).astype(dtype)[order]
            for side, order in ((rows, self.row_order), (cols, self.col_order))
        )

    def packed(self, state: State) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the factors as the kernel wants them, to be changed by it."""
        factors = (state.row_factors, state.col_factors)
        if self._seen[0] is not factors[0] or self._seen[1] is not factors[1]:  # not our last ones
            for side, (own, order) in enumerate(
                zip(factors, (self.row_order, self.col_order), strict=True)
            ):
                if self._packed[side] is None:
                    self._packed[side] = empty_lines(len(own), own.shape[1], own.dtype)
                pack(own, order, self._packed[side])
        self._seen = (None, None)  # what is packed moves on
        self._n_factors = factors[0].shape[1]
        return self._packed[0], self._packed[1]

    def unpacked(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what the kernel made of them, as new arrays."""
        P, Q = (np.empty((len(own), self._n_factors), own.dtype) for own in self._packed)
        for own, order, factors in zip(
            self._packed, (self.row_order, self.col_order), (P, Q), strict=True
        ):
            unpack(own, order, factors)
        self._seen = (P, Q)
        return P, Q

    def order(self, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Draw an epoch's order of rounds, and for each block where to start and how to stride."""
        rounds = rng.permutation(_BLOCKS)
        n_runs = np.maximum(-(-np.diff(self.start) // RUN), 1)
        starts = rng.integers(n_runs)
        strides = rng.integers(1, np.maximum(n_runs, 2))
        while (shared := np.gcd(strides, n_runs) > 1).any():
            strides[shared] = rng.integers(1, np.maximum(n_runs[shared], 2))
        return rounds, starts, strides


def _numbers(order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the place of each row in an order."""
    numbers = np.empty_like(order)
    numbers[order] = np.arange(order.size, dtype=np.int32)
    return numbers


def _dealt(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Deal rows into blocks with about equal numbers of entries: the block of each row."""
    order = rng.permutation(counts.size)
    total = np.cumsum(counts[order])
    block = np.empty(counts.size, dtype=np.uint8)
    whole = max(int(total[-1]) if total.size else 0, 1)
    block[order] = np.minimum((total - counts[order]) * _BLOCKS // whole, _BLOCKS - 1)
    return block
