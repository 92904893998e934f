"""Value and gradient of an objective at a point, computed in one pass over the stored entries."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import evaluate, formulas, products
from twofold._kernels.aligned import LINE, address, aligned_copy, empty_aligned
from twofold._kernels.arguments import LossCall, Penalties, PenaltyCall, Step
from twofold._kernels.threads import check_n_threads, run, useful_threads
from twofold.objective.point import ObjectiveValue, Point
from twofold.objective.reduction import Node, nodes_of, total_of
from twofold.objective.side import Margin, Side
from twofold.objective.terms import Terms

if TYPE_CHECKING:
    from twofold.objective.problem import Problem

__all__ = [
    "evaluate_point",
    "gradient_of_batch",
    "gramian",
    "gramian_of_nodes",
    "gramian_parts",
    "multiplied",
    "penalty_sums",
    "predictions",
    "product_sums",
    "sketched_product",
    "sparse_product",
    "value_and_gradient",
    "value_sums",
    "with_value",
]

Array = NDArray[Any]
_ALL_ROWS = np.empty(0, np.int64)
_NO_WEIGHTS = np.empty(0)


def evaluate_point(
    problem: "Problem",
    point: Point,
    n_threads: int | None = None,
    sums: tuple[Array, Array] | None = None,
) -> Point:
    """Return the point with its objective value, which is not finite if a factor is not.

    If a0 > 0, it has the Gramians, too. ``sums`` are those of the tasks of rows and of columns, if
    they are known from solving the columns; see `with_value`.

    The sums of fixed tasks are added in order in float64, so the result is bitwise independent of
    the number of threads.
    """
    threads = check_n_threads(n_threads)
    is_solved = sums is not None
    if sums is None:
        penalties = problem.penalties(point.n_factors)
        sums = (
            value_sums(
                problem.rows, problem.loss_call, penalties.rows, point.rows, point.cols, threads
            ),
            penalty_sums(problem.col_margin, penalties.cols, point.cols, threads),
        )
    grams = _grams(problem, point, threads)
    return with_value(problem.objective, point, grams, *sums, is_solved=is_solved)


def value_sums(
    side: Side, loss: LossCall, penalty: PenaltyCall, own: Array, other: Array, threads: int
) -> Array:
    """Return the sums of the tasks of rows, shape (n_tasks, 3); see `evaluate`."""
    sums = _new_sums(side.bounds)
    run(
        evaluate.value_rows, len(sums), threads, side.bounds, side.entries, loss, penalty, own,
        other, side.multiplicity, sums,
    )  # fmt: skip
    return sums


def penalty_sums(margin: Margin, penalty: PenaltyCall, factors: Array, threads: int) -> Array:
    """Return the sums of the tasks of columns, shape (n_tasks, 3), which have the penalty only."""
    sums = _new_sums(margin.bounds)
    if margin.scale.any():
        run(
            evaluate.penalty_rows, len(sums), useful_threads(factors.size, threads), margin.bounds,
            margin.penalty_weights, penalty, factors, sums,
        )  # fmt: skip
    return sums


def value_and_gradient(
    problem: "Problem",
    point: Point,
    n_threads: int | None = None,
    *,
    rate: float = 0.0,
    subgradient: bool = False,
) -> tuple[Point, Array, Array]:
    """Return the point with its objective value, and the gradients with respect to P and Q.

    The gradients have the padding and dtype of the point and do not include a regulariser that is
    not smooth. With a rate > 0, the factors after a proximal gradient step of that length are
    returned instead. With ``subgradient``, a built-in regulariser that is not smooth is included.
    """
    threads = check_n_threads(n_threads)
    P, Q, rows, cols = point.rows, point.cols, problem.rows, problem.cols
    grams = _grams(problem, point, threads)
    penalties = problem.penalties(point.n_factors)
    if subgradient and problem.penalty_call.code != formulas.EXTERNAL:
        penalties = Penalties(*(penalty._replace(smooth=True) for penalty in penalties))
    row_step, col_step = (Step(penalty, float(rate), bool(grams)) for penalty in penalties)
    slopes = np.empty(problem.n_entries, P.dtype)
    dP, sums = _gradient_side(problem, rows, (P, Q), row_step, grams[1:], slopes, threads)
    dQ, col_sums = (
        _unobserved_gradient(problem, Q, grams[:1], 1.0, threads),
        _new_sums(cols.bounds),
    )
    run(
        evaluate.gradient_by_slopes, len(col_sums), threads, cols.bounds, cols.entries,
        problem.column_order, slopes, col_step, Q, P, col_sums, dQ,
    )  # fmt: skip
    return with_value(problem.objective, point, grams, sums, col_sums), dP, dQ


def gradient_of_batch(
    problem: "Problem", point: Point, batch: tuple[Side, Side], n_threads: int | None = None
) -> tuple[Array, Array]:
    """Return the gradient of some stored entries and the same share of the other terms.

    Parameters
    ----------
    batch : tuple of Side
        The entries by row and by column. The gradients of the batches of an epoch sum to the whole
        gradient.
    """
    threads = check_n_threads(n_threads)
    P, Q, grams = point.rows, point.cols, _grams(problem, point, threads)
    steps = [Step(penalty, 0.0, bool(grams)) for penalty in problem.penalties(point.n_factors)]
    dP, _ = _gradient_side(problem, batch[0], (P, Q), steps[0], grams[1:], P[:0, 0], threads)
    dQ, _ = _gradient_side(problem, batch[1], (Q, P), steps[1], grams[:1], P[:0, 0], threads)
    return dP, dQ


def _grams(problem: "Problem", point: Point, threads: int) -> list[Array]:
    """Return P'P and Q'Q, weighted by multiplicities, or an empty list if a0 is 0."""
    if not problem.objective.unobserved_weight:
        return []
    return [
        gramian(factors, threads, margin.multiplicity, margin.coarse_bounds(point.cols.shape[1]))
        if known is None
        else known
        for factors, known, margin in zip(
            (point.rows, point.cols), point.gramians, (problem.rows, problem.col_margin),
            strict=True,
        )
    ]  # fmt: skip


def with_value(
    objective: Terms,
    point: Point,
    grams: list[Array],
    sums: Array,
    col_sums: Array,
    *,
    is_solved: bool = False,
) -> Point:
    """Return the point with its value, from the sums of all tasks and the Gramians if a0 > 0.

    With ``is_solved`` the sums of the loss include the unobserved term of all cells, so that their
    rounding errors, to which a minimum is insensitive, are not those of different points.
    """
    loss, excluded, penalty = (
        _ordered_sum(rows) + _ordered_sum(cols)
        for rows, cols in zip(sums.T, col_sums.T, strict=True)
    )
    unobserved = 0.0
    if grams:
        unobserved = objective.unobserved_weight * float(np.sum(grams[0] * grams[1]))
        loss -= unobserved if is_solved else 0.0
        unobserved -= excluded
    value = ObjectiveValue(loss, unobserved, penalty)
    gramians = (grams[0], grams[1]) if grams else (None, None)
    return replace(point, value=value, gramians=gramians)


def _gradient_side(
    problem: "Problem",
    side: Side,
    factors: tuple[Array, Array],
    step: Step,
    gram: list[Array],
    slopes: Array,
    threads: int,
) -> tuple[Array, Array]:
    """Return the gradient with respect to ``factors[0]`` and the sums of the tasks of its side."""
    own, other = factors
    share = side.entries.indices.size / problem.n_entries if problem.n_entries else 1.0
    out, sums = _unobserved_gradient(problem, own, gram, share, threads), _new_sums(side.bounds)
    entries = side.entries
    if share != 1.0:
        entries = entries._replace(scale=entries.scale * share)
    run(
        evaluate.gradient_rows, len(sums), threads, side.bounds, entries, problem.loss_call,
        step, own, other, slopes, sums, out,
    )  # fmt: skip
    return out, sums


def _unobserved_gradient(
    problem: "Problem", factors: Array, gram: list[Array], share: float, threads: int
) -> Array:
    """Return a share of the gradient of a0 |P Q'|^2 with respect to the factors of one side.

    ``gram`` contains the Gramian of the other side. If it is empty, the result is uninitialised.
    """
    out = empty_aligned(factors.shape, factors.dtype)
    for G in gram:
        scaled_gram = 2.0 * share * problem.objective.unobserved_weight * G
        multiplied(factors, scaled_gram.astype(factors.dtype), out, threads)
    return out


def _new_sums(bounds: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.zeros((bounds.size - 1, 3))


def _ordered_sum(values: Array) -> float:
    return float(sum(values.tolist()))


def predictions(side: Side, own: Array, other: Array, threads: int) -> NDArray[np.float64]:
    """Return p_u . q_i of every entry of a side, whose padded factors are ``own``."""
    out = empty_aligned(side.entries.indices.shape, np.float64)
    n_tasks = side.bounds.size - 1
    run(evaluate.predict_rows, n_tasks, threads, side.bounds, side.entries, own, other, out)
    return out


def product_sums(side: Side, own: Array, other: Array, threads: int) -> NDArray[np.float64]:
    """Return the sums of w r x, w x^2, a x and a x^2 over the entries of each task.

    Here x is p_u . q_i, and a the weight in the unobserved term that an entry excludes from it.
    The result, of shape (n_tasks, 4), is bitwise independent of the number of threads.
    """
    sums = np.zeros((side.bounds.size - 1, 4))
    run(
        evaluate.product_sums, len(sums), threads, side.bounds, side.entries, own, other,
        side.multiplicity, sums,
    )  # fmt: skip
    return sums


def sparse_product(side: Side, scales: tuple[Array, Array], X: Array, threads: int) -> Array:
    """Return diag(scales[0]) B diag(scales[1]) X for the matrix B of the entries w r of a side."""
    out = empty_aligned((side.n, X.shape[1]), X.dtype)
    run(
        products.multiply_sparse, side.bounds.size - 1, threads, side.bounds, side.entries,
        *scales, X, out,
    )  # fmt: skip
    return out


def sketched_product(
    side: Side, scales: tuple[Array, Array], buckets: Array, width: int, threads: int
) -> Array:
    """Return the `sparse_product` with a matrix of ``width`` columns, in float32.

    Row i of this matrix has one element other than 0, a 1 in the column ``buckets[i]``.
    """
    out = empty_aligned((side.n, width), np.float32)
    run(
        products.sketch_sparse, side.bounds.size - 1, threads, side.bounds, side.entries,
        *scales, buckets, out,
    )  # fmt: skip
    return out


def gramian(
    factors: Array,
    threads: int,
    weights: NDArray[np.float64] = _NO_WEIGHTS,
    bounds: NDArray[np.int64] = _ALL_ROWS,
) -> NDArray[np.float64]:
    """Return F' diag(weights) F, by default F'F, in float64.

    It is bitwise independent of the number of threads. ``bounds`` are those of its tasks,
    `Margin.coarse_bounds`, by default of equal numbers of rows.
    """
    return gramian_of_nodes(nodes_of(gramian_parts(factors, threads, weights, bounds)))


def gramian_parts(
    factors: Array,
    threads: int,
    weights: NDArray[np.float64] = _NO_WEIGHTS,
    bounds: NDArray[np.int64] = _ALL_ROWS,
) -> NDArray[np.float64]:
    """Return the `gramian` of each task, its upper triangle only; shape (n_tasks, k, k)."""
    n, k = factors.shape
    if not bounds.size:
        n_tasks = max(1, min(n // 4096, (1 << 24) // (k * k), 64))
        bounds = np.arange(n_tasks + 1) * n // n_tasks
    n_tasks = bounds.size - 1
    # With a large power of two as leading dimension, the rows would map to few cache sets.
    partial = np.zeros((n_tasks, k, k + (8 if k % 16 == 0 else 16)))
    run(products.gramian, n_tasks, threads, bounds, factors, weights, partial)
    return partial[:, :, :k]


def gramian_of_nodes(nodes: Iterable[Node]) -> NDArray[np.float64]:
    """Return the Gramian whose tasks have these nodes, in order."""
    total = np.array(total_of(nodes))
    np.copyto(total, total.T, where=_below_diagonal(len(total)))
    return total


@cache
def _below_diagonal(k: int) -> NDArray[np.bool_]:
    return np.tri(k, k, -1, dtype=bool)


def multiplied(
    factors: Array, B: Array, out: Array, threads: int, rows: NDArray[np.int64] = _ALL_ROWS
) -> None:
    """Set out[rows] = F[rows] B, by default for all rows; see `products.multiply`."""
    if address(B) % LINE:
        B = aligned_copy(B, B.dtype)
    n = rows.size or factors.shape[0]
    n_tasks = -(-n // products.PRODUCT_ROWS)
    run(products.multiply, n_tasks, threads, factors, rows, B, out)
