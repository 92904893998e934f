"""`Block`: rows of one side of a problem, and what a worker computes for them.

A block has consecutive rows of the matrix, or columns, with their entries; the rows of the other
side are those that the entries refer to. On one machine there is one block for each side. All
functions return either something for each row of the block, or sums of fixed tasks, which
`Operations` adds in order, so that the result does not depend on the division into blocks.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import state_of
from twofold._kernels import formulas, products
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.arguments import LossCall, PenaltyCall
from twofold._kernels.threads import run, useful_threads
from twofold.objective import Problem
from twofold.objective.biases import Axis
from twofold.objective.centers import around_center, at_center_where_empty
from twofold.objective.evaluation import (
    gramian_parts,
    multiplied,
    penalty_sums,
    product_sums,
    sketched_product,
    sparse_product,
    value_sums,
)
from twofold.objective.point import is_finite, padded_factors
from twofold.objective.reduction import Node, nodes_of
from twofold.objective.side import CHUNK, Side
from twofold.objective.terms import Terms
from twofold.solvers.centered_system import CenteredSystem
from twofold.solvers.column_system import Buffers
from twofold.solvers.report import RowReport
from twofold.solvers.triangles import scaled_columns, stacked_triangle

__all__ = [
    "Block",
    "RowOptions",
    "StartSide",
    "column_sums",
    "extrapolated",
    "factors_of",
    "gramian_sums",
    "has_entries",
    "is_usable",
    "largest",
    "penalty_value",
    "rescaled",
    "rows_value",
    "sketched",
    "solved",
    "solved_factors",
    "solved_value",
    "sparse_times",
    "square_sums",
    "start_factors",
    "start_side",
    "start_sums",
    "times",
    "triangles",
    "turning_sums",
    "unsettled",
    "widened",
]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of one side of a problem.

    Parameters
    ----------
    objective : Terms
        The objective.
    axis : {"row", "col"}
        Whether they are rows or columns of the matrix.
    side : Side
        The rows with their entries, whose indices are positions in ``referred``.
    penalty : PenaltyCall
        The penalty of these rows.
    multiplicity, summed_weights : ndarray of float64
        Those of the rows of the other side that the entries refer to; see `Margin`.
    n_other : int
        Number of all rows of the other side of the data.
    buffers : Buffers
        Working memory of solves.
    """

    objective: Terms
    axis: Axis
    side: Side
    penalty: PenaltyCall
    multiplicity: NDArray[np.float64]
    summed_weights: NDArray[np.float64]
    n_other: int
    buffers: Buffers = field(default_factory=Buffers)
    lock: Any = field(default_factory=RLock)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the working memory out of pickles."""
        state = state_of(self)
        return type(self), tuple(state[name] for name in list(state)[:-2])

    @classmethod
    def both(cls, problem: Problem, n_columns: int) -> dict[Axis, "Block"]:
        """Return all rows and all columns of a problem as two blocks."""
        penalties, buffers = problem.penalties(n_columns), Buffers()
        rows, cols = problem.rows, problem.cols

        def block(axis: Axis, side: Side, other: Side, penalty: PenaltyCall) -> "Block":
            return cls(
                problem.objective, axis, side, penalty, other.multiplicity, other.summed_weights,
                other.n_original, buffers,
            )  # fmt: skip

        return {
            "row": block("row", rows, cols, penalties.rows),
            "col": block("col", cols, rows, penalties.cols),
        }


class RowOptions(NamedTuple):
    """How rows are solved; see `ColumnSystem.solve`."""

    way: Any
    cg_steps: int
    excess: float
    needs_sums: bool = False


def solved(
    block: Block, other: Array, start: Array, product: Array | None, n_columns: int,
    options: RowOptions, triangle: Any, threads: int,
) -> RowReport:  # fmt: skip
    """Solve the rows of a block.

    Parameters
    ----------
    block : Block
    other : ndarray, shape (n_referred, width)
        Factors of the rows of the other side that the entries refer to.
    start : ndarray, shape (n, width)
        Initial guess of the iterative methods.
    product : ndarray of float64, shape (width, width), or None
        The Gramian of all rows of the other side. It may be None if a0 = 0.
    n_columns : int
        Number of columns of the factors without the padding.
    options : RowOptions
    triangle : callable or ndarray
        As for `ColumnSystem`, or what it returns.
    threads : int

    Raises
    ------
    MissingTriangleError
        If a row needs the triangle, and it is `missing_triangle`.
    """
    is_inexact = options.way == "cg" or options.excess > 0.0
    with block.lock:
        system = CenteredSystem.prepare(
            block.objective,
            other,
            block.axis,
            n_factors=n_columns,
            n_threads=threads,
            buffers=block.buffers,
            product=product,
            multiplicity=block.multiplicity,
            n_cols=block.n_other,
            triangle=(lambda: triangle) if isinstance(triangle, np.ndarray) else triangle,
            ridge=block.objective.common_ridge if is_inexact else None,
        )
        report = system.solve(
            block.side, block.penalty.center, start, n_threads=threads, buffers=block.buffers,
            **options._asdict(),
        )  # fmt: skip
    report.check(block.side, block.axis)
    return report


def solved_factors(*arguments: Any, **options: Any) -> Array:
    """Return the rows of `solved`, without the report."""
    return solved(*arguments, **options).row_factors


def unsettled(block: Block, report: RowReport, threads: int) -> tuple[int, int]:
    """Return the position of the first row that did not converge, and the number of such rows."""
    rows = report.unsettled
    return (block.side.position(rows[0]) if rows.size else 0), block.side.n_of(rows)


def factors_of(block: Block, report: RowReport, threads: int) -> Array:
    """Return the solved rows."""
    return report.row_factors


def gramian_sums(block: Block, factors: Array, by_penalty: bool, threads: int) -> list[Node]:
    """Return the sums of the Gramians of tasks, weighted by the multiplicities or penalties."""
    side, width = block.side, factors.shape[1]
    weights = side.penalty_weights if by_penalty else side.multiplicity
    parts = gramian_parts(factors, threads, weights, side.coarse_bounds(width))
    return nodes_of(parts, side.first_coarse_task(width))


def triangles(block: Block, factors: Array, columns: Array, threads: int) -> Array:
    """Return R of some columns of the rows of each task, scaled by the root of a0."""
    a0, multiplicity = block.objective.unobserved_weight, block.side.multiplicity
    return np.stack(
        [
            stacked_triangle(
                [scaled_columns(factors[low:high, columns], a0, multiplicity[low:high])]
            )
            for low, high in pairwise(block.side.coarse_bounds(factors.shape[1]))
        ]
    )


def times(block: Block, factors: Array, B: Array, threads: int) -> Array:
    """Return F B in the dtype of B."""
    out = empty_aligned((len(factors), B.shape[1]), B.dtype)
    multiplied(factors, aligned_copy(B, B.dtype), out, threads)
    return out


def extrapolated(block: Block, new: Array, old: Array, momentum: float, threads: int) -> Array:
    """Return Q + beta (Q - Q_previous)."""
    out = empty_aligned(new.shape, new.dtype)
    n_tasks, threads = -(-len(new) // products.PRODUCT_ROWS), useful_threads(new.size, threads)
    run(products.extrapolate, n_tasks, threads, new, old, new.dtype.type(momentum), out)
    return out


def turning_sums(block: Block, start: Array, old: Array, new: Array, threads: int) -> Array:
    """Return <Y - Q_new, Q_new - Q> of each task."""
    bounds = block.side.bounds
    sums, threads = np.zeros(bounds.size - 1), useful_threads(new.size, threads)
    run(
        products.turning, sums.size, threads, bounds, start, old, new, block.side.multiplicity,
        sums,
    )  # fmt: skip
    return sums


# The objective


def rows_value(block: Block, own: Array, other: Array, threads: int) -> Array:
    """Return the sums of the tasks of rows, with the squared loss; see `value_sums`."""
    loss = LossCall(formulas.SQUARED, 0.0, 0, 0)
    return value_sums(block.side, loss, block.penalty, own, other, threads)


def penalty_value(block: Block, factors: Array, threads: int) -> Array:
    """Return the sums of the tasks with the penalty only; see `penalty_sums`."""
    return penalty_sums(block.side, block.penalty, factors, threads)


def solved_value(block: Block, report: RowReport, threads: int) -> Array:
    """Return the sums of the tasks, as `value_sums`, from those of the solved rows.

    The first one includes a0 times the sum of x^2 over all cells.
    """
    side, own = block.side, report.sums
    if side.multiplicity.size:
        own = own * side.multiplicity[:, np.newaxis]
    sums = penalty_value(block, report.row_factors, threads)
    if len(own):
        sums[:, :2] = np.add.reduceat(own, side.bounds[:-1])
        sums[:, 0] += sums[:, 1] - sums[:, 2]
    return sums


# The initial factors


class StartSide(NamedTuple):
    """The matrix B of the spectral start, for the rows of a block."""

    side: Side
    """The entries, whose targets are those without the mean."""
    scales: tuple[Array, Array]
    """D^-1/4 of the rows and of the other side, times the root of the unit."""


def largest(block: Block, mean: float, threads: int) -> tuple[float, float]:
    """Return the largest |w (r - mean)| and the largest summed weight of the rows."""
    entries, entry = _without_mean(block.side, mean).entries, 0.0
    for low in range(0, entries.indices.size, CHUNK):  # in parts, which bounds the memory
        product = np.ones(1)
        for factor in (entries.targets, entries.weights):
            with np.errstate(over="ignore"):
                product = product * factor[low : low + CHUNK] if factor.size else product
        entry = max(entry, float(np.abs(product).max()))
    return entry, float(block.side.summed_weights.max(initial=0.0))


def start_side(
    block: Block, mean: float, unit: float, tops: dict[Axis, float], threads: int
) -> StartSide:
    """Return ``unit`` B; ``tops`` are the largest summed weights of all rows and columns."""
    other: Axis = "col" if block.axis == "row" else "row"
    summed = block.side.summed_weights, block.summed_weights
    own_scale, other_scale = (
        np.sqrt(unit) / _fourth_root(weights, tops[axis])
        for weights, axis in zip(summed, (block.axis, other), strict=True)
    )
    return StartSide(_without_mean(block.side, mean), (own_scale, other_scale))


def _without_mean(side: Side, mean: float) -> Side:
    if not mean:
        return side
    targets = side.entries.targets if side.entries.targets.size else 1.0
    out = empty_aligned(side.entries.indices.shape, np.float64)
    return side.with_targets(np.subtract(targets, mean, out=out))


def _fourth_root(summed_weights: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    """Return n_u^1/4 relative to the largest one, at least 1e-5, and 1 for rows without entries."""
    top = top or 1.0
    positive = np.where(summed_weights > 0.0, summed_weights, top)
    return np.asarray(np.sqrt(np.sqrt(np.maximum(positive / top, 1e-20))))


def sparse_times(block: Block, start: StartSide, X: Array, threads: int) -> Array:
    """Return D^-1/4 B D^-1/4 X."""
    return sparse_product(start.side, start.scales, X, threads)


def sketched(block: Block, start: StartSide, codes: Array, width: int, threads: int) -> Array:
    """Return the product with a sparse random matrix of ``width`` columns.

    Its row i has one element other than 0, the sign of ``codes[i, 0]``, in the column
    ``abs(codes[i, 0]) - 1``.
    """
    own, other = start.scales
    signs, buckets = np.sign(codes[:, 0]), (np.abs(codes[:, 0]) - 1).astype(np.int32)
    return sketched_product(start.side, (own, other * signs), buckets, width, threads)


def start_factors(
    block: Block, factors: Array, n_factors: int, n_columns: int, dtype: Any, is_drawn: bool,
    threads: int,
) -> Array:  # fmt: skip
    """Return initial factors as `Solver.solve` starts from them, padded.

    If they were drawn, and not given, they are those around the centers, and the rows without
    entries are at their centers.
    """
    out = aligned_copy(factors[:, : n_factors if is_drawn else n_columns], dtype)
    if is_drawn:
        out = around_center(out, block.penalty.center, n_columns)
    if block.objective.nonnegative:
        np.abs(out, out=out)
    out = padded_factors(out)
    if is_drawn:
        out = at_center_where_empty(out, block.side.counts, block.penalty.center)
    return out


def has_entries(block: Block, threads: int) -> NDArray[np.bool_]:
    """Return whether each row has entries."""
    return np.asarray(block.side.counts > 0)


def widened(block: Block, factors: Array, drawn: Array, n_kept: int, threads: int) -> Array:
    """Return the first columns of the factors, followed by those that were drawn, padded."""
    k = n_kept + drawn.shape[1]
    out = empty_aligned((len(factors), k + -k % 8), factors.dtype)
    out[:, :n_kept], out[:, n_kept:k], out[:, k:] = factors[:, :n_kept], drawn, 0.0
    return out


def square_sums(block: Block, factors: Array, threads: int) -> Array:
    """Return the sum of the squares of each task."""
    squares = np.einsum("uf,uf->u", factors, factors, dtype=np.float64)
    return np.add.reduceat(squares, block.side.bounds[:-1]) if squares.size else squares


def rescaled(block: Block, factors: Array, top: float, number: float, threads: int) -> Array:
    """Return a number times D^1/4 F, with D relative to ``top``, or times F if that is 0."""
    scale = np.full(len(factors), number, np.float32)
    if top:
        scale *= _fourth_root(block.side.summed_weights, top).astype(np.float32)
    out = empty_aligned(factors.shape, factors.dtype)
    n_tasks = -(-len(out) // products.PRODUCT_ROWS)
    run(products.scale_rows, n_tasks, useful_threads(out.size, threads), factors, scale, out)
    return out


def start_sums(block: Block, start: StartSide, own: Array, other: Array, threads: int) -> Array:
    """Return `product_sums` of the rows, whose targets are those without the mean."""
    return product_sums(start.side, own, other, threads)


def column_sums(block: Block, factors: Array, threads: int) -> Array:
    """Return the sum of the rows of each task, in float64."""
    if not len(factors):
        return np.zeros((1, factors.shape[1]))
    return np.add.reduceat(factors, block.side.bounds[:-1], axis=0, dtype=np.float64)


def is_usable(block: Block, factors: Array, threads: int) -> tuple[bool, bool]:
    """Return whether all factors are finite, and whether some are not 0."""
    return is_finite(factors), bool(factors.any())
