"""The parts of the objective and its gradient, over the stored entries of one side.

``bounds`` splits the rows into fixed chunks, one task each. Row ``task`` of ``sums`` becomes the
chunk's sums of w l(r, x), of a0 x^2 over the stored cells where these get it back, and of
scale_u phi(p_u), with x = p_u . q_i. They are added in float64.
"""

import numpy as np

from twofold._kernels.arguments import missing_share, target, weight
from twofold._kernels.formulas import (
    SQUARE,
    SQUARED,
    loss_derivative,
    loss_value,
    penalty_derivative,
    penalty_step,
    penalty_value,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.vectors import TILE, add_rows, dot_rows, next_task, prefetch_row

__all__ = ["count_columns", "gradient_rows", "move_rows", "penalty_rows", "value_rows"]

_AHEAD = 16  # entries by which rows are prefetched before they are needed


@kernel
def count_columns(indices, weights, counts, summed):
    """Add up entries and weights by column."""
    for e in range(indices.size):
        counts[indices[e]] += 1
        summed[indices[e]] += weights[e] if weights.size else 1.0


@inlined
def _list_entries(e, m, end, entries, Q, ids):
    """Set ids to the columns of up to eight entries from e on; prefetch those of later ones."""
    for r in range(TILE):
        ids[r] = entries.indices[e + min(r, m - 1)]
    for r in range(min(e + _AHEAD, end), min(e + _AHEAD + m, end)):
        prefetch_row(Q, entries.indices[r])


@kernel
def value_rows(counter, n_tasks, bounds, entries, loss, penalty, P, Q, sums):
    """Set the sums of a side."""
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    slopes, chunk = np.zeros(TILE), np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                _list_entries(e, m, end, entries, Q, ids)
                dot_rows(Q, ids, 0, p, x)
                _apply_loss(e, m, entries, loss, x, slopes, chunk)
            chunk[2] += entries.scale[u] * _penalty(penalty, p)
        _take(chunk, task, sums)
        task = next_task(counter)


@device
def _take(chunk, task, sums):
    """Move the sums of a chunk to their row."""
    for part in range(3):
        sums[task, part] = chunk[part]
        chunk[part] = 0.0


@inlined
def _apply_loss(e, m, entries, loss, x, slopes, sums):
    """Add the values of up to eight entries to the sums; set their slopes."""
    total = square = 0.0
    for r in range(m):
        t, w, a = target(entries, e + r), weight(entries, e + r), missing_share(entries, e + r)
        square += a * (x[r] * x[r])
        if loss.code == SQUARED:  # here as well as in `formulas`, so that it is a vector loop
            distance = x[r] - t
            total += w * (distance * distance)
            slopes[r] = 2.0 * (w * distance - a * x[r])
        else:
            total += w * loss_value(loss, t, x[r])
            slopes[r] = w * loss_derivative(loss, t, x[r]) - 2.0 * a * x[r]
    for r in range(m, TILE):
        slopes[r] = 0.0
    sums[0] += total
    sums[1] += square


@inlined
def _penalty(penalty, p):
    total = 0.0
    if penalty.code == SQUARE:
        for f in range(p.size):
            total += p[f] * p[f]
        return total
    for f in range(p.size):
        total += penalty_value(penalty, p[f])
    return total


@kernel
def penalty_rows(counter, n_tasks, bounds, scale, penalty, P, sums):
    """Set the third sum alone."""
    p = np.zeros(P.shape[1])
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(p.size):
                p[f] = P[u, f]
            sums[task, 2] += scale[u] * _penalty(penalty, p)
        task = next_task(counter)


@kernel
def gradient_rows(
    counter, n_tasks, bounds, entries, loss, penalty, P, Q, has_pull, rate, sums, out
):
    """Set the sums, and ``out`` to the gradient by each row of P, or to a step against it.

    The gradient is sum_e [w l'(r, x) - 2 a0' x] q_i + scale_u phi'(p_u), with a0' of an entry from
    `missing_share`, plus what is in ``out`` before if ``has_pull``. With a rate > 0, ``out``
    becomes the proximal step of that length. By Q it is the same call for the other side.
    """
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    total, slopes = np.zeros(width, P.dtype), np.zeros(TILE, P.dtype)
    chunk = np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
                total[f] = out[u, f] if has_pull else 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                _list_entries(e, m, end, entries, Q, ids)
                dot_rows(Q, ids, 0, p, x)
                _apply_loss(e, m, entries, loss, x, slopes, chunk)
                add_rows(Q, ids, 0, slopes, total)
            chunk[2] += entries.scale[u] * _penalty(penalty, p)
            _finish_row(u, entries.scale[u], penalty, rate, p, total, out)
        _take(chunk, task, sums)
        task = next_task(counter)


@inlined
def _finish_row(u, scale, penalty, rate, p, total, out):
    if penalty.code == SQUARE and not penalty.nonnegative:  # a vector loop for the usual case
        ridge = 2.0 * scale
        if rate > 0.0:
            for f in range(p.size):
                out[u, f] = p[f] - rate * (np.float64(total[f]) + ridge * p[f])
        else:
            for f in range(p.size):
                out[u, f] = np.float64(total[f]) + ridge * p[f]
        return
    for f in range(p.size):
        slope = np.float64(total[f])
        if penalty.smooth:
            slope += scale * penalty_derivative(penalty, p[f])
        if rate > 0.0:
            slope = penalty_step(penalty, p[f] - rate * slope, rate * scale)
        out[u, f] = slope


@kernel
def move_rows(counter, n_tasks, bounds, scale, penalty, rate, P, gradient, out):
    """Set out to the proximal step of P against the gradient."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(P.shape[1]):
                moved = np.float64(P[u, f]) - rate * np.float64(gradient[u, f])
                out[u, f] = penalty_step(penalty, moved, rate * scale[u])
        task = next_task(counter)
