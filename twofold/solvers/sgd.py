"""Stochastic gradient descent over the stored entries, without data races."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_real
from twofold._kernels.aligned import empty_aligned, empty_lines
from twofold._kernels.arguments import Penalties
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

_BLOCKS = 16  # blocks per side, constant so that the result does not depend on n_threads


@dataclass(frozen=True, eq=False)
class SGDMemory:
    """State of SGD that is needed to continue a run: sums of mean squared gradients."""

    row_sums: NDArray[Any]
    col_sums: NDArray[Any]


@dataclass(kw_only=True)
class SGD(Solver):
    """Stochastic gradient descent over the stored entries.

    One epoch processes every entry once. With slope g = w l'(r, p.q), an entry updates both of its
    vectors simultaneously:

        p <- p - eta_p (g q + lam s_u / m_u phi'(p)),   q <- q - eta_q (g p + lam s_i / m_i phi'(q))

    where m_u is the number of entries of the row, so that the updates of an epoch sum to the
    gradient of the whole objective. A regulariser that is not smooth is applied by its proximal
    step, and so is L2 with ``schedule="adagrad"``, which prevents overshooting. Rows and columns
    are divided into 16 x 16 blocks. Blocks without common rows and columns run in parallel (Gemulla
    et al. 2011; Chin et al. 2015, LIBMF), so there are no data races and the result is bitwise
    independent of the number of threads. The order of blocks and entries is drawn in each epoch.
    The factors of rows without entries are zero, or the center of their penalty.

    For the squared loss with L2, ALS comes closer to the minimum and is as fast; SGD is for other
    losses and regularisers.

    ``unobserved_weight`` > 0 is not supported, because the gradient 2 a0 Q'Q p of this term is not
    a sum over the stored entries. Including a share of it in every update would cost n_factors^2
    operations instead of n_factors, with a Q'Q that every update changes. Use GD or ALS, which
    compute the term exactly from one Gramian per epoch or half-step.

    Parameters
    ----------
    learning_rate : float or None, default None
        eta > 0. None uses 1.2 sqrt(v / n_factors) for "adagrad", and otherwise
        0.05 / max(v, init_scale^2) divided by the largest weight, where v is the root mean square
        of the targets (1 without targets). With biases, v is that of the targets minus mu, and
        "adagrad" starts from a sum that makes the first steps of the biases small.
    schedule : {"adagrad", "constant", "inverse-time"}, default "adagrad"
        "adagrad" divides eta by the square root of the row's sum of mean squared gradients, which
        starts at (mean weight)^2 v^3 (Duchi et al. 2011; one sum for each row, as in Chin et al.
        2015). "inverse-time" divides eta by 1 + decay * (number of completed epochs).
    decay : float, default 0.1
        Decay per epoch of ``schedule="inverse-time"``, >= 0.
    init : {"spectral", "random"}, default "random"
        As for every solver. SGD sees the stored entries only, which singular vectors describe
        worse: in time to 1% above the best objective they gained nothing.
    init_scale : float, default 0.3
        As for every solver. The default is smaller, because SGD corrects a random start slowly.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.solvers import SGD
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> solution = SGD(n_factors=2, max_epochs=20, rng=0).solve(Objective(), R)
    >>> solution.row_factors.shape, solution.history[-1].total < solution.history[0].total
    ((2, 2), True)
    """

    learning_rate: float | None = None
    schedule: Literal["adagrad", "constant", "inverse-time"] = "adagrad"
    decay: float = 0.1
    init: Literal["spectral", "random"] = "random"
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
        """Return the initial sums."""
        scale = _Scale.of(problem)
        with np.errstate(over="ignore"):
            first = float(np.float64(scale.target) ** 3)
            if problem.objective.biases:
                # The first step of a bias is then at most a quarter of its slope.
                first = max(first, 16.0 * self._adagrad_rate(scale) ** 2)
            first *= float(np.float64(scale.mean_weight) ** 2)
        if not first < np.finfo(self.dtype).max:
            raise InvalidInputError(
                f"the root mean square of the targets is {scale.target:g}, which is too large for "
                f"SGD in {self.dtype}: scale the stored values down"
            )
        return SGDMemory(
            *(
                np.full(len(factors), first, dtype=self.dtype)
                for factors in (point.rows, point.cols)
            )
        )

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the entries sorted by block."""
        point = without_empty_rows(problem, state.point) if state.epoch == 0 else state.point
        layout = _Layout(problem, random_stream(state.seed, 2), self.dtype, point.n_factors)
        return state.at(point, workspace=layout)

    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch."""
        layout: _Layout = state.workspace
        adagrad = self.schedule == "adagrad"
        threads = check_n_threads(self.n_threads)
        memory = replace(
            state.memory,
            row_sums=state.memory.row_sums.copy(),
            col_sums=state.memory.col_sums.copy(),
        )
        sums = Sums(memory.row_sums, memory.col_sums, adagrad)
        P, Q = layout.packed(state.point, threads)
        n_finished = np.zeros(2 * _BLOCKS, np.int64)
        n_columns = state.point.n_factors
        run(
            sgd_epoch, _BLOCKS**2, threads, layout.blocks, layout.order(state.epoch_rng()),
            problem.loss_call, layout.penalties,
            P.dtype.type(self._rate(layout.scale, state)), sums, n_columns, n_finished, P, Q,
        )  # fmt: skip
        return state.at(layout.unpacked(state.point, threads), memory=memory)

    def _adagrad_rate(self, scale: "_Scale") -> float:
        return float(1.2 * np.sqrt(scale.target / self.n_factors))

    def _rate(self, scale: "_Scale", state: State) -> float:
        rate = self.learning_rate
        if rate is None and self.schedule == "adagrad":
            rate = self._adagrad_rate(scale)
        elif rate is None:
            length = 1.0 if state.point.n_factors > self.n_factors else 0.0  # of a bias' constant
            rate = 0.05 / (scale.max_weight * max(scale.target, self.init_scale**2, length))
        if self.schedule == "inverse-time":
            rate /= 1.0 + self.decay * state.epoch
        return float(rate)


@dataclass(frozen=True)
class _Scale:
    """The scale of the data, which determines the default learning rates."""

    target: float
    """Root mean square of the targets, without mu if there are biases."""
    max_weight: float
    """Largest weight."""
    mean_weight: float

    @classmethod
    def of(cls, problem: Problem) -> "_Scale":
        targets, weights = problem.rows.entries.targets, problem.rows.entries.weights
        targets = targets - problem.mean if problem.objective.biases else targets
        mean_square = float(np.mean(targets * targets)) if targets.any() else 1.0
        return cls(
            mean_square**0.5,
            float(weights.max(initial=0.0)) or 1.0,
            float(weights.mean()) if weights.size else 1.0,
        )


class _Layout:
    """Stored entries in the order of the blocks, with the penalty of one update.

    Rows and columns are numbered in that order, so that threads do not share cache lines.
    """

    def __init__(
        self, problem: Problem, rng: np.random.Generator, dtype: str, n_columns: int
    ) -> None:
        rows, cols = problem.rows, problem.col_margin
        entries = rows.entries
        row_block, col_block = _assign_blocks(rows.counts, rng), _assign_blocks(cols.counts, rng)
        self.orders = [
            np.argsort(block, kind="stable").astype(np.int32) for block in (row_block, col_block)
        ]
        self.penalties = Penalties(
            *(
                penalty._replace(center=penalty.center[order])
                if len(penalty.center) == order.size
                else penalty
                for penalty, order in zip(problem.penalties(n_columns), self.orders, strict=True)
            )
        )
        self.scale = _Scale.of(problem)
        self._packed: list[Any] = [None, None]
        self._current: Point | None = None
        start = np.zeros(_BLOCKS**2 + 1, np.int64)
        n = problem.n_entries
        positions = np.empty(n if entries.targets.size or entries.weights.size else 0, np.int64)
        count_pairs(entries.indptr, entries.indices, row_block, col_block, _BLOCKS, start[1:])
        np.cumsum(start, out=start)
        decay = [
            (side.scale / np.maximum(side.counts, 1)).astype(dtype)[order]
            for side, order in zip((rows, cols), self.orders, strict=True)
        ]
        none = np.empty(0, dtype)
        blocks = Blocks(start, np.empty(n, np.int32), np.empty(n, np.int32), none, none, *decay)
        numbers = [_inverse_permutation(order) for order in self.orders]
        write_blocks(
            entries, row_block, col_block, *numbers, _BLOCKS, start[:-1].copy(), blocks, positions
        )
        targets, weights = (
            (values[positions] if values.size else values).astype(dtype)
            for values in (entries.targets, entries.weights)
        )
        self.blocks = blocks._replace(targets=targets, weights=weights)

    def packed(self, point: Point, threads: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the factors in the order of the blocks, to be updated in place."""
        current = self._current
        if current is None or current.rows is not point.rows or current.cols is not point.cols:
            for side, factors in enumerate((point.rows, point.cols)):
                if self._packed[side] is None:
                    self._packed[side] = empty_lines(len(factors), point.n_factors, factors.dtype)
                order = self.orders[side]
                run(pack, -(-order.size // CHUNK), threads, factors, order, self._packed[side])
        self._current = None
        return self._packed[0], self._packed[1]

    def unpacked(self, point: Point, threads: int) -> Point:
        """Return the updated factors in the original order, as a point with new arrays."""
        P, Q = (empty_aligned(old.shape, old.dtype) for old in (point.rows, point.cols))
        for packed, order, out in zip(self._packed, self.orders, (P, Q), strict=True):
            run(unpack, -(-order.size // CHUNK), threads, packed, order, out)
        self._current = Point(P, Q, point.n_factors)
        return self._current

    def order(self, rng: np.random.Generator) -> Order:
        """Draw the order of the rounds of an epoch, and the start and stride of each block."""
        rounds = rng.permutation(_BLOCKS)
        n_runs = np.maximum(-(-np.diff(self.blocks.start) // RUN), 1)
        starts = rng.integers(n_runs)
        strides = rng.integers(1, np.maximum(n_runs, 2))
        while (not_coprime := np.gcd(strides, n_runs) > 1).any():
            strides[not_coprime] = rng.integers(1, np.maximum(n_runs[not_coprime], 2))
        return Order(rounds, starts, strides)


def _inverse_permutation(order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the position of each row in an order."""
    numbers = np.empty_like(order)
    numbers[order] = np.arange(order.size, dtype=np.int32)
    return numbers


def _assign_blocks(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random block for each row; the blocks have similar numbers of entries."""
    order = rng.permutation(counts.size)
    total = np.cumsum(counts[order])
    block = np.empty(counts.size, dtype=np.uint8)
    n_entries = max(int(total[-1]) if total.size else 0, 1)
    block[order] = np.minimum((total - counts[order]) * _BLOCKS // n_entries, _BLOCKS - 1)
    return block
