"""Sums of the objective and its gradient over the stored entries of one side.

``bounds`` divides the rows into fixed chunks, one task each. ``sums[task]`` is set to the sums over
the chunk, in float64, of w l(r, x), of a0 x^2 over the stored cells that the unobserved term
excludes, and of scale_u phi(p_u - c_u), with x = p_u . q_i and the center c_u of the penalty.
"""

import numpy as np

from twofold._kernels.arguments import center_of, center_row, excluded_weight, target, weight
from twofold._kernels.formulas import (
    SQUARE,
    SQUARED,
    loss_derivative,
    loss_value,
    penalty_derivative,
    penalty_proximal,
    penalty_value,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.rows import add_tile, dot_tile, prefetch_rows
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import add_scaled_rows, prefetch_at, prefetch_row
from twofold._kernels.vectors.tasks import next_task

_AHEAD = 16  # prefetch distance in entries


@kernel
def value_rows(counter, n_tasks, bounds, entries, loss, penalty, P, Q, multiplicity, sums):
    """Set ``sums`` of a side, to which each row contributes its multiplicity (default 1) times."""
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    slopes, row_sums, chunk = np.zeros(TILE), np.zeros(3), np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                prefetch_rows(Q, entries.indices, min(e + _AHEAD, end), min(e + _AHEAD + m, end))
                dot_tile(Q, entries, e, m, ids, p, x)
                _apply_loss(e, m, entries, loss, x, slopes, row_sums)
            row_sums[2] = entries.scale[u] * _penalty(penalty, u, P)
            _add_row(row_sums, multiplicity[u] if multiplicity.size else 1.0, chunk)
        _store_sums(chunk, task, sums)
        task = next_task(counter)


@device
def _add_row(row_sums, times, chunk):
    """Add the sums of a row to those of the chunk, and reset them."""
    for part in range(3):
        chunk[part] += times * row_sums[part]
        row_sums[part] = 0.0


@device
def _store_sums(chunk, task, sums):
    """Write the sums of a chunk to ``sums[task]`` and reset them."""
    for part in range(3):
        sums[task, part] = chunk[part]
        chunk[part] = 0.0


@inlined
def _apply_loss(e, m, entries, loss, x, slopes, sums):
    """Add the values of the entries e:e+m, m <= 8, to the sums; set their slopes."""
    total = square = 0.0
    for r in range(m):
        t, w, a = target(entries, e + r), weight(entries, e + r), excluded_weight(entries, e + r)
        square += a * (x[r] * x[r])
        if loss.code == SQUARED:  # Repeated from `formulas`, so that the loop is vectorised.
            difference = x[r] - t
            total += w * (difference * difference)
            slopes[r] = 2.0 * (w * difference - a * x[r])
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
    if penalty.center.size:
        return _centered_penalty(penalty, u, P)
    total = 0.0
    if penalty.code == SQUARE:
        for f in range(P.shape[1]):
            total += np.float64(P[u, f]) * np.float64(P[u, f])
    else:
        for f in range(P.shape[1]):
            total += penalty_value(penalty, np.float64(P[u, f]))
    return total


@device
def _centered_penalty(penalty, u, P):
    """Return the sum of phi over row u of P minus its center, without the constant column."""
    total, c = 0.0, center_row(penalty, u)
    if penalty.code == SQUARE:
        for f in range(P.shape[1]):
            difference = np.float64(P[u, f]) - penalty.center[c, f]
            total += difference * difference
    else:
        for f in range(P.shape[1]):
            total += penalty_value(penalty, np.float64(P[u, f]) - penalty.center[c, f])
    if penalty.fixed >= 0:
        difference = np.float64(P[u, penalty.fixed]) - penalty.center[c, penalty.fixed]
        total -= penalty_value(penalty, difference)
    return total


@kernel
def product_sums(counter, n_tasks, bounds, entries, P, Q, multiplicity, sums):
    """Set sums[task] to the sums of w r x, w x^2, a x and a x^2 over the chunk.

    Each row contributes its multiplicity (default 1) times.
    """
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        sums[task] = 0.0
        for u in range(bounds[task], bounds[task + 1]):
            times = multiplicity[u] if multiplicity.size else 1.0
            for f in range(width):
                p[f] = P[u, f]
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                prefetch_rows(Q, entries.indices, min(e + _AHEAD, end), min(e + _AHEAD + m, end))
                dot_tile(Q, entries, e, m, ids, p, x)
                for r in range(m):
                    w, a = weight(entries, e + r), excluded_weight(entries, e + r)
                    sums[task, 0] += times * w * target(entries, e + r) * x[r]
                    sums[task, 1] += times * w * x[r] * x[r]
                    sums[task, 2] += times * a * x[r]
                    sums[task, 3] += times * a * x[r] * x[r]
        task = next_task(counter)


@kernel
def predict_rows(counter, n_tasks, bounds, entries, P, Q, out):
    """Set out[e] = p_u . q_i for every entry e, in float64."""
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                prefetch_rows(Q, entries.indices, min(e + _AHEAD, end), min(e + _AHEAD + m, end))
                dot_tile(Q, entries, e, m, ids, p, x)
                for r in range(m):
                    out[e + r] = x[r]
        task = next_task(counter)


@kernel
def penalty_rows(counter, n_tasks, bounds, scale, penalty, P, sums):
    """Add the third sum only."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            sums[task, 2] += scale[u] * _penalty(penalty, u, P)
        task = next_task(counter)


@kernel
def gradient_rows(counter, n_tasks, bounds, entries, loss, step, P, Q, slopes, sums, out):
    """Set ``sums``, and ``out`` to the gradient with respect to P or to a proximal step.

    The gradient is sum_e g_e q_i + scale_u phi'(p_u - c_u), with the slope
    g_e = w l'(r, x) - 2 a0' x, where a0' is the `excluded_weight` of the entry; see `Step`.
    ``slopes`` is set to g_e of every entry for `gradient_by_slopes`, unless it has length 0.
    """
    width = P.shape[1]
    p, x, ids = np.zeros(width), np.zeros(TILE), np.zeros(TILE, np.int32)
    total, tile_slopes = np.zeros(width, P.dtype), np.zeros(TILE, P.dtype)
    row_sums, chunk = np.zeros(3), np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                p[f] = P[u, f]
                total[f] = out[u, f] if step.accumulates else 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                prefetch_rows(Q, entries.indices, min(e + _AHEAD, end), min(e + _AHEAD + m, end))
                dot_tile(Q, entries, e, m, ids, p, x)
                _apply_loss(e, m, entries, loss, x, tile_slopes, row_sums)
                add_tile(Q, entries, e, m, ids, tile_slopes, total)
                _store_slopes(tile_slopes, e, m, slopes)
            row_sums[2] = entries.scale[u] * _finish_row(u, entries.scale[u], step, P, total, out)
            _add_row(row_sums, 1.0, chunk)
        _store_sums(chunk, task, sums)
        task = next_task(counter)


@inlined
def _store_slopes(tile_slopes, e, m, slopes):
    """Set slopes[e:e+m] to the first of ``tile_slopes``, unless ``slopes`` has length 0."""
    if slopes.size:
        for r in range(m):
            slopes[e + r] = tile_slopes[r]


@kernel
def gradient_by_slopes(counter, n_tasks, bounds, entries, order, slopes, step, P, Q, sums, out):
    """Like `gradient_rows` for the other side, whose entry e has the slope slopes[order[e]]."""
    width = P.shape[1]
    total, chunk = np.zeros(width, P.dtype), np.zeros(3)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(width):
                total[f] = out[u, f] if step.accumulates else 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(min(low + _AHEAD, end), min(high + _AHEAD, end)):
                prefetch_row(Q, entries.indices[e])
                prefetch_at(slopes, order[e])
            add_scaled_rows(Q, entries.indices, slopes, order, low, high, total)
            chunk[2] += entries.scale[u] * _finish_row(u, entries.scale[u], step, P, total, out)
        _store_sums(chunk, task, sums)
        task = next_task(counter)


@inlined
def _finish_row(u, scale, step, P, total, out):
    """Set out[u] from the gradient of the loss; return the sum of phi."""
    penalty, rate = step.penalty, step.rate
    if penalty.center.size:
        return _finish_centered_row(u, scale, step, P, total, out)
    if penalty.code == SQUARE and not penalty.nonnegative:  # The usual case, vectorised.
        ridge, square = 2.0 * scale, 0.0
        for f in range(P.shape[1]):
            value = np.float64(P[u, f])
            slope = np.float64(total[f]) + ridge * value
            square += value * value
            out[u, f] = value - rate * slope if rate > 0.0 else slope
        return square
    for f in range(P.shape[1]):
        value, slope = np.float64(P[u, f]), np.float64(total[f])
        if penalty.smooth:
            slope += scale * penalty_derivative(penalty, value)
        if rate > 0.0:
            slope = penalty_proximal(penalty, value - rate * slope, rate * scale)
        out[u, f] = slope
    return _penalty(penalty, u, P)


@device
def _finish_centered_row(u, scale, step, P, total, out):
    """Do the same as `_finish_row` with a center, and keep the constant column."""
    penalty, rate, c = step.penalty, step.rate, center_row(step.penalty, u)
    if penalty.code == SQUARE:
        ridge = 2.0 * scale
        for f in range(P.shape[1]):
            value = np.float64(P[u, f])
            slope = np.float64(total[f]) + ridge * (value - penalty.center[c, f])
            out[u, f] = value - rate * slope if rate > 0.0 else slope
    else:
        for f in range(P.shape[1]):
            value, slope, center = np.float64(P[u, f]), np.float64(total[f]), penalty.center[c, f]
            if penalty.smooth:
                slope += scale * penalty_derivative(penalty, value - center)
            if rate > 0.0:
                moved = value - rate * slope - center
                slope = center + penalty_proximal(penalty, moved, rate * scale)
            out[u, f] = slope
    if penalty.fixed >= 0:
        out[u, penalty.fixed] = P[u, penalty.fixed] if rate > 0.0 else 0.0
    return _centered_penalty(penalty, u, P)


@kernel
def proximal_rows(counter, n_tasks, bounds, scale, penalty, rate, P, gradient, out):
    """Set ``out`` to the proximal gradient step from P."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(P.shape[1]):
                center = center_of(penalty, u, f)
                moved = np.float64(P[u, f]) - rate * np.float64(gradient[u, f]) - center
                out[u, f] = center + penalty_proximal(penalty, moved, rate * scale[u])
            if penalty.fixed >= 0:
                out[u, penalty.fixed] = P[u, penalty.fixed]
        task = next_task(counter)
