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
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import (
    add_rows,
    add_scaled_rows,
    dot_rows,
    prefetch_at,
    prefetch_row,
)
from twofold._kernels.vectors.tasks import next_task

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
            chunk[2] += entries.scale[u] * _penalty(penalty, u, P)
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
def _penalty(penalty, u, P):
    """Return the sum of phi over row u of P."""
    total = 0.0
    if penalty.code == SQUARE:
        for f in range(P.shape[1]):
            total += np.float64(P[u, f]) * np.float64(P[u, f])
        return total
    for f in range(P.shape[1]):
        total += penalty_value(penalty, np.float64(P[u, f]))
    return total


@kernel
def penalty_rows(counter, n_tasks, bounds, scale, penalty, P, sums):
    """Set the third sum alone."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            sums[task, 2] += scale[u] * _penalty(penalty, u, P)
        task = next_task(counter)


@kernel
def gradient_rows(counter, n_tasks, bounds, entries, loss, step, P, Q, slopes, sums, out):
    """Set the sums, and ``out`` to the gradient by each row of P, or to a step against it.

    The gradient is sum_e g_e q_i + scale_u phi'(p_u), with the slope g_e = w l'(r, x) - 2 a0' x and
    a0' of an entry from `missing_share`; see `Step`. ``slopes`` keeps g_e of every entry for
    `gradient_by_slopes`, unless it has length 0.
    """
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    total, eight = np.zeros(width, P.dtype), np.zeros(TILE, P.dtype)
    chunk = np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
                total[f] = out[u, f] if step.has_pull else 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                _list_entries(e, m, end, entries, Q, ids)
                dot_rows(Q, ids, 0, p, x)
                _apply_loss(e, m, entries, loss, x, eight, chunk)
                add_rows(Q, ids, 0, eight, total)
                _keep(eight, e, m, slopes)
            chunk[2] += entries.scale[u] * _finish_row(u, entries.scale[u], step, P, total, out)
        _take(chunk, task, sums)
        task = next_task(counter)


@inlined
def _keep(eight, e, m, slopes):
    """Set slopes[e:e+m] to the first of eight, unless there are none to be set."""
    if slopes.size:
        for r in range(m):
            slopes[e + r] = eight[r]


@kernel
def gradient_by_slopes(counter, n_tasks, bounds, entries, order, slopes, step, P, Q, sums, out):
    """As `gradient_rows` for the other side, whose entry e has the slope ``slopes[order[e]]``."""
    width = P.shape[1]
    total, chunk = np.zeros(width, P.dtype), np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                total[f] = out[u, f] if step.has_pull else 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(min(low + _AHEAD, end), min(high + _AHEAD, end)):
                prefetch_row(Q, entries.indices[e])
                prefetch_at(slopes, order[e])
            add_scaled_rows(Q, entries.indices, slopes, order, low, high, total)
            chunk[2] += entries.scale[u] * _finish_row(u, entries.scale[u], step, P, total, out)
        _take(chunk, task, sums)
        task = next_task(counter)


@inlined
def _finish_row(u, scale, step, P, total, out):
    """Set row u of the result from the gradient of the loss; return the sum of phi."""
    penalty, rate = step.penalty, step.rate
    if penalty.code == SQUARE and not penalty.nonnegative:  # one vector loop for the usual case
        ridge, square = 2.0 * scale, 0.0
        for f in range(P.shape[1]):
            own = np.float64(P[u, f])
            slope = np.float64(total[f]) + ridge * own
            square += own * own
            out[u, f] = own - rate * slope if rate > 0.0 else slope
        return square
    for f in range(P.shape[1]):
        own, slope = np.float64(P[u, f]), np.float64(total[f])
        if penalty.smooth:
            slope += scale * penalty_derivative(penalty, own)
        if rate > 0.0:
            slope = penalty_step(penalty, own - rate * slope, rate * scale)
        out[u, f] = slope
    return _penalty(penalty, u, P)


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
