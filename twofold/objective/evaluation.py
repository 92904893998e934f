"""The value and the gradient of an objective at a point, by one pass over the stored entries."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import evaluate, products
from twofold._kernels.aligned import LINE, address, aligned_copy, empty_aligned
from twofold._kernels.arguments import PenaltyCall, Step
from twofold._kernels.threads import check_n_threads, run
from twofold.objective.point import ObjectiveValue, Point
from twofold.objective.side import Side

if TYPE_CHECKING:
    from twofold.objective.problem import Problem

__all__ = ["evaluate_point", "gradient_of_batch", "gramian", "multiplied", "value_and_gradient"]

Array = NDArray[Any]
_ALL = np.empty(0, np.int64)


def evaluate_point(problem: "Problem", point: Point, n_threads: int | None = None) -> Point:
    """Return the point with the objective there; not finite if a factor is not.

    The sums run over fixed tasks and are added in order, in float64: the bits do not depend on the
    number of threads.
    """
    threads = check_n_threads(n_threads)
    rows, cols = problem.rows, problem.col_margin
    sums, col_sums = _sums(rows.bounds), _sums(cols.bounds)
    run(
        evaluate.value_rows, len(sums), threads, rows.bounds, rows.entries, problem.loss_call,
        problem.penalty_call, point.rows, point.cols, sums,
    )  # fmt: skip
    if cols.scale.any():
        run(
            evaluate.penalty_rows, len(col_sums), threads, cols.bounds, cols.scale,
            problem.penalty_call, point.cols, col_sums,
        )  # fmt: skip
    grams = _grams(problem, point, threads)
    return point.with_value(_value(problem, grams, sums, col_sums))


def value_and_gradient(
    problem: "Problem",
    point: Point,
    n_threads: int | None = None,
    *,
    rate: float = 0.0,
    penalty: PenaltyCall | None = None,
) -> tuple[Point, Array, Array]:
    """Return the point with the objective there, and the gradient by P and by Q.

    Both are padded as the point is, and in its dtype. A regulariser that is not smooth has no part
    in the gradient. With a rate > 0 it is the factors after a proximal step of that length against
    the gradient that are returned instead of it. ``penalty`` replaces that of the problem.
    """
    threads = check_n_threads(n_threads)
    penalty = penalty or problem.penalty_call
    P, Q, rows, cols = point.rows, point.cols, problem.rows, problem.cols
    grams = _grams(problem, point, threads)
    step = Step(penalty, float(rate), bool(grams))
    slopes = np.empty(problem.n_entries, P.dtype)
    by_P, sums = _gradient_side(problem, rows, (P, Q), step, grams[1:], slopes, threads)
    by_Q, col_sums = _pulled(problem, Q, grams[:1], 1.0, threads), _sums(cols.bounds)
    run(
        evaluate.gradient_by_slopes, len(col_sums), threads, cols.bounds, cols.entries,
        problem.column_order, slopes, step, Q, P, col_sums, by_Q,
    )  # fmt: skip
    return point.with_value(_value(problem, grams, sums, col_sums)), by_P, by_Q


def gradient_of_batch(
    problem: "Problem", point: Point, batch: tuple[Side, Side], n_threads: int | None = None
) -> tuple[Array, Array]:
    """Return the gradient of some stored entries and the same share of the other terms.

    Parameters
    ----------
    batch : tuple of Side
        The entries, by row and by column. Batches add up to the whole gradient.
    """
    threads = check_n_threads(n_threads)
    P, Q, grams = point.rows, point.cols, _grams(problem, point, threads)
    step = Step(problem.penalty_call, 0.0, bool(grams))
    dP, _ = _gradient_side(problem, batch[0], (P, Q), step, grams[1:], P[:0, 0], threads)
    dQ, _ = _gradient_side(problem, batch[1], (Q, P), step, grams[:1], P[:0, 0], threads)
    return dP, dQ


def _grams(problem: "Problem", point: Point, threads: int) -> list[Array]:
    """Return P'P and Q'Q, or nothing if a0 is 0."""
    if not problem.objective.unobserved_weight:
        return []
    return [gramian(point.rows, threads), gramian(point.cols, threads)]


def _gradient_side(
    problem: "Problem",
    side: Side,
    factors: tuple[Array, Array],
    step: Step,
    gram: list[Array],
    slopes: Array,
    threads: int,
) -> tuple[Array, Array]:
    """Return the gradient by the factors of a side, the first, and the sums of its tasks."""
    own, other = factors
    share = side.entries.indices.size / problem.n_entries if problem.n_entries else 1.0
    out, sums = _pulled(problem, own, gram, share, threads), _sums(side.bounds)
    entries = side.entries
    if share != 1.0:
        entries = entries._replace(scale=entries.scale * share)
    run(
        evaluate.gradient_rows, len(sums), threads, side.bounds, entries, problem.loss_call,
        step, own, other, slopes, sums, out,
    )  # fmt: skip
    return out, sums


def _pulled(
    problem: "Problem", factors: Array, gram: list[Array], share: float, threads: int
) -> Array:
    """Return a share of the gradient of a0 |P Q'|^2 by one side's factors; undefined if a0 = 0.

    ``gram`` is the Gramian of the other side's factors.
    """
    out = empty_aligned(factors.shape, factors.dtype)
    for G in gram:
        pull = 2.0 * share * problem.objective.unobserved_weight * G
        multiplied(factors, pull.astype(factors.dtype), out, threads)
    return out


def _sums(bounds: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.zeros((bounds.size - 1, 3))


def _value(problem: "Problem", grams: list[Array], sums: Array, col_sums: Array) -> ObjectiveValue:
    unobserved = 0.0
    if grams:
        product = float(np.sum(grams[0] * grams[1]))
        unobserved = problem.objective.unobserved_weight * product - _ordered_sum(sums[:, 1])
    penalty = _ordered_sum(sums[:, 2]) + _ordered_sum(col_sums[:, 2])
    return ObjectiveValue(_ordered_sum(sums[:, 0]), unobserved, penalty)


def _ordered_sum(values: Array) -> float:
    return float(sum(values.tolist()))


def gramian(factors: Array, threads: int) -> NDArray[np.float64]:
    """Return F'F in float64, shape (width, width); the same bits at any number of threads."""
    n, k = factors.shape
    n_tasks = max(1, min(n // 4096, (1 << 24) // (k * k), 64))
    # Rows that are a large power of two apart share few sets of the cache.
    partial = np.zeros((n_tasks, k, k + (8 if k % 16 == 0 else 16)))
    run(products.gramian, n_tasks, threads, factors, partial)
    total = np.zeros((k, k))
    for part in partial:
        total += part[:k, :k]
    return np.triu(total) + np.triu(total, 1).T


def multiplied(
    factors: Array, B: Array, out: Array, threads: int, rows: NDArray[np.int64] = _ALL
) -> None:
    """Set out[rows] = F[rows] B, by default of all rows; see `products.multiply`."""
    if address(B) % LINE:
        B = aligned_copy(B, B.dtype)
    n = rows.size or factors.shape[0]
    n_tasks = -(-n // products.PRODUCT_ROWS)
    run(products.multiply, n_tasks, threads, factors, rows, B, out)
