"""Stochastic gradient descent, pair by pair, without races."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_real
from twofold._kernels.aligned import empty_aligned, empty_lines
from twofold._kernels.sgd import (
    CHUNK,
    RUN,
    Blocks,
    Order,
    Sums,
    count_pairs,
    pack,
    sgd_epoch,
    unpack,
    write_blocks,
)
from twofold._kernels.threads import check_n_threads, run
from twofold.exceptions import InvalidInputError
from twofold.objective import Objective, Point, Problem
from twofold.solvers.base import Solver, Support
from twofold.solvers.state import State, random_stream, without_empty_rows

__all__ = ["SGD"]

_BLOCKS = 16  # a side; not the number of threads, so that the bits do not depend on it


@dataclass(frozen=True, eq=False)
class SGDMemory:
    """What SGD needs to continue exactly: the sums of mean squared slopes."""

    row_sums: NDArray[Any]
    col_sums: NDArray[Any]


@dataclass(kw_only=True)
class SGD(Solver):
    """Stochastic gradient descent over the stored entries.

    One epoch visits every entry once. With slope g = w l'(r, p.q) an entry moves both its vectors
    from their old values:

        p <- p - eta_p (g q + lam s_u / m_u phi'(p)),   q <- q - eta_q (g p + lam s_i / m_i phi'(q))

    where m_u counts the entries of the row, so that one epoch sums to the gradient of the whole
    objective; a regulariser that is not smooth acts by its proximal step instead, and with
    ``schedule="adagrad"`` so does L2, which cannot overshoot then. Rows and columns are dealt into
    16 x 16 blocks; blocks that share no row and no column run in parallel (Gemulla et al. 2011;
    Chin et al. 2015, LIBMF), so there are no races and the bits do not depend on the number of
    threads. The order of blocks and entries is drawn anew in each epoch. Rows without entries
    become zero.

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

    supports: ClassVar[Support] = Support(unobserved_weight=False, nonnegative=False)

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective."""
        super().validate(objective)
        if self.learning_rate is not None:
            check_real(self.learning_rate, "learning_rate", above=0.0)
        check_choice(self.schedule, "schedule", ("adagrad", "constant", "inverse-time"))
        check_real(self.decay, "decay", minimum=0.0)

    def new_memory(self, problem: Problem, point: Point) -> SGDMemory:
        """Return the sums before the first epoch."""
        scale = _Scale.of(problem)
        with np.errstate(over="ignore"):
            first = np.float64(scale.mean_weight) ** 2 * np.float64(scale.target) ** 3
        if not first < np.finfo(self.dtype).max:
            raise InvalidInputError(
                f"the root mean square of the targets is {scale.target:g}, which is too large for "
                f"SGD in {self.dtype}: scale the stored values down"
            )
        return SGDMemory(
            *(np.full(len(own), first, dtype=self.dtype) for own in (point.rows, point.cols))
        )

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the entries dealt into blocks."""
        point = without_empty_rows(problem, state.point) if state.epoch == 0 else state.point
        return state.at(point, workspace=_Layout(problem, random_stream(state.seed, 2), self.dtype))

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        layout: _Layout = state.workspace
        adapts = self.schedule == "adagrad"
        threads = check_n_threads(self.n_threads)
        memory = replace(
            state.memory,
            row_sums=state.memory.row_sums.copy(),
            col_sums=state.memory.col_sums.copy(),
        )
        sums = Sums(memory.row_sums, memory.col_sums, adapts)
        P, Q = layout.packed(state.point, threads)
        done = np.zeros(2 * _BLOCKS, np.int64)
        run(
            sgd_epoch, _BLOCKS**2, threads, layout.blocks, layout.order(state.epoch_rng()),
            problem.loss_call, problem.penalty_call, P.dtype.type(self._rate(layout.scale, state)),
            sums, self.n_factors, done, P, Q,
        )  # fmt: skip
        return state.at(layout.unpacked(state.point, threads), memory=memory)

    def _rate(self, scale: "_Scale", state: State) -> float:
        rate = self.learning_rate
        if rate is None and self.schedule == "adagrad":
            rate = 1.2 * np.sqrt(scale.target / self.n_factors)
        elif rate is None:
            rate = 0.05 / (scale.heaviest * max(scale.target, self.init_scale**2))
        if self.schedule == "inverse-time":
            rate /= 1.0 + self.decay * state.epoch
        return float(rate)


@dataclass(frozen=True)
class _Scale:
    """The scale of the data, from which rates follow."""

    target: float
    """Root mean square of the targets."""
    heaviest: float
    """Largest weight."""
    mean_weight: float

    @classmethod
    def of(cls, problem: Problem) -> "_Scale":
        targets, weights = problem.rows.entries.targets, problem.rows.entries.weights
        mean_square = float(np.mean(targets * targets)) if targets.any() else 1.0
        return cls(
            mean_square**0.5,
            float(weights.max(initial=0.0)) or 1.0,
            float(weights.mean()) if weights.size else 1.0,
        )


class _Layout:
    """The stored entries in the order of blocks, and the penalty of one visit.

    Rows and columns are numbered in that order, so that no two threads share a cache line.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator, dtype: str) -> None:
        rows, cols = problem.rows, problem.col_margin
        entries = rows.entries
        row_block, col_block = _dealt(rows.counts, rng), _dealt(cols.counts, rng)
        self.orders = [
            np.argsort(block, kind="stable").astype(np.int32) for block in (row_block, col_block)
        ]
        self.scale = _Scale.of(problem)
        self._packed: list[Any] = [None, None]
        self._current: Point | None = None
        start = np.zeros(_BLOCKS**2 + 1, np.int64)
        n = problem.n_entries
        stored_values = (entries.targets, entries.weights)
        positions = np.empty(n if any(values.size for values in stored_values) else 0, np.int64)
        count_pairs(entries.indptr, entries.indices, row_block, col_block, _BLOCKS, start[1:])
        np.cumsum(start, out=start)
        decay = [
            (side.scale / np.maximum(side.counts, 1)).astype(dtype)[order]
            for side, order in zip((rows, cols), self.orders, strict=True)
        ]
        none = np.empty(0, dtype)
        blocks = Blocks(start, np.empty(n, np.int32), np.empty(n, np.int32), none, none, *decay)
        numbers = [_numbers(order) for order in self.orders]
        write_blocks(
            entries, row_block, col_block, *numbers, _BLOCKS, start[:-1].copy(), blocks, positions
        )
        targets, weights = (
            (values[positions] if values.size else values).astype(dtype) for values in stored_values
        )
        self.blocks = blocks._replace(targets=targets, weights=weights)

    def packed(self, point: Point, threads: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the factors in the order of blocks, for the kernel to change."""
        current = self._current
        if current is None or current.rows is not point.rows or current.cols is not point.cols:
            for side, own in enumerate((point.rows, point.cols)):
                if self._packed[side] is None:
                    self._packed[side] = empty_lines(len(own), point.n_factors, own.dtype)
                order = self.orders[side]
                run(pack, -(-order.size // CHUNK), threads, own, order, self._packed[side])
        self._current = None
        return self._packed[0], self._packed[1]

    def unpacked(self, like: Point, threads: int) -> Point:
        """Return the point that the kernel moved to, with new arrays."""
        factors = [empty_aligned(own.shape, own.dtype) for own in (like.rows, like.cols)]
        for own, order, out in zip(self._packed, self.orders, factors, strict=True):
            run(unpack, -(-order.size // CHUNK), threads, own, order, out)
        self._current = Point(factors[0], factors[1], like.n_factors)
        return self._current

    def order(self, rng: np.random.Generator) -> Order:
        """Draw an epoch's order of rounds, and for each block where to start and how to stride."""
        rounds = rng.permutation(_BLOCKS)
        n_runs = np.maximum(-(-np.diff(self.blocks.start) // RUN), 1)
        starts = rng.integers(n_runs)
        strides = rng.integers(1, np.maximum(n_runs, 2))
        while (shared := np.gcd(strides, n_runs) > 1).any():
            strides[shared] = rng.integers(1, np.maximum(n_runs[shared], 2))
        return Order(rounds, starts, strides)


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
