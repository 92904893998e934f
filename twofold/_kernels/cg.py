"""The row solve by conjugate gradients, from where the row was, in whitened coordinates.

In the coordinates of `direct`, (I + Z_c' Z_c) p^ = Z' b, the Gramian costs nothing and the
conditioning is that of the row's own entries.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.jit import device, kernel
from twofold._kernels.rows import (
    CG,
    DUAL_ERROR,
    SOLVED,
    UNSUITABLE,
    add_left,
    following,
    whitening,
)
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import add_rows, dot_rows
from twofold._kernels.vectors.tasks import next_task

CHUNK = 1024
"""Rows in a task of `squared_lengths`."""
_MAX_RESTARTS = 5
_MOST_ROUNDING = 0.05  # (rounding unit) x trace beyond which steps may go up instead of down


class Scratch(NamedTuple):
    """Working memory of one thread."""

    x: Any
    """p^ in float64."""
    moved64: Any
    residual: Any
    left64: Any
    r: Any
    p: Any
    moved: Any
    total: Any
    left: Any
    h: Any
    root: Any
    """1 / h, and then the largest h."""
    ids: Any


@kernel
def squared_lengths(counter, n_tasks, Y, spectrum, mu, out):
    """Set out to |z_i|^2 for every row of Y; a task is `CHUNK` rows."""
    h = np.empty(Y.shape[1])
    whitening(spectrum, mu, h)
    task = next_task(counter)
    while task < n_tasks:
        for i in range(task * CHUNK, min(task * CHUNK + CHUNK, Y.shape[0])):
            total = 0.0
            for f in range(Y.shape[1]):
                z = h[f] * Y[i, f]
                total += z * z
            out[i] = total
        task = next_task(counter)


@kernel
def solve_by_cg(
    counter, n_tasks, tasks, entries, columns, least, start, n_steps, tolerance, out, report
):
    """Do at most n_steps of conjugate gradients for each row (Hestenes & Stiefel 1952).

    ``start`` and ``out`` are rotated as ``columns.rotated`` is; ``least`` is the ridge for which
    ``columns.lengths`` were computed, at most that of any row.

    With a tolerance > 0 a row ends when its residual r bounds the relative error by it: the matrix
    is I + something positive, so p^ is wrong by at most |r|, and p by max(h) |r|. The recurrence's
    residual does not see rounding, so it is computed anew in float64, and the steps go on from that
    if need be. A row that does not get there is UNSUITABLE, as is one with a c < 0, one whose
    solution is not finite, and one to which the rounding of Y itself could matter.
    """
    Y, spectrum = columns.rotated, columns.spectrum
    k = Y.shape[1]
    s = Scratch(
        np.zeros(k),
        np.zeros(k),
        np.zeros(k),
        np.zeros(TILE),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(TILE, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k + 1),
        np.zeros(TILE, np.int32),
    )
    highest = 0.0
    for f in range(Y.shape[1]):
        highest = max(highest, spectrum[f])
    mu = -1.0
    task = next_task(counter)
    while task < n_tasks:
        end = tasks.bounds[task + 1]
        for place in range(tasks.bounds[task], end):
            u = tasks.rows[place]
            if entries.scale[u] != mu:
                mu = entries.scale[u]
                _whiten(spectrum, mu, s)
            ahead = following(tasks.rows, place, end, entries)
            # (S + least) / (S + mu) grows with S, so that this is an upper bound of each |z|^2.
            shrinking = (highest + least) / (highest + mu)
            rounding = np.finfo(Y.dtype).eps * shrinking * _trace(u, entries, columns.lengths)
            limit = tolerance / DUAL_ERROR if tolerance > 0.0 else _MOST_ROUNDING
            error = size = np.nan
            if rounding <= limit:
                _begin(u, ahead, entries, Y, start, s)
                error, size = _descend(u, n_steps, tolerance, entries, Y, s)
            for f in range(Y.shape[1]):
                out[u, f] = s.h[f] * s.x[f]
            is_solved = error < np.inf and size < (1e76 if np.finfo(Y.dtype).eps > 1e-10 else 1e300)
            report.status[u] = SOLVED if is_solved else UNSUITABLE
            report.route[u] = CG
            report.error[u] = error
        task = next_task(counter)


@device
def _whiten(spectrum, mu, s):
    whitening(spectrum, mu, s.h)
    widest = 0.0
    for f in range(s.h.size):
        s.root[f] = np.sqrt(spectrum[f] + mu)
        widest = max(widest, np.float64(s.h[f]))
    s.root[s.h.size] = widest


@device
def _trace(u, entries, lengths):
    """Return the sum of c |z|^2 over the entries of a row, nan if a c is negative."""
    trace = 0.0
    for e in range(entries.indptr[u], entries.indptr[u + 1]):
        c = curvature(entries, e)
        if not c >= 0.0:
            return np.nan
        trace += c * lengths[entries.indices[e]]
    return trace


@device
def _begin(u, ahead, entries, Y, start, s):
    """Set x to the start and r to its residual; to zero where the right-hand side is zero."""
    low, high = entries.indptr[u], entries.indptr[u + 1]
    is_zero = True
    for e in range(low, high):
        is_zero &= linear(entries, e) == 0.0
    for f in range(s.x.size):
        s.moved[f] = 0.0 if is_zero else start[u, f]
        s.total[f] = 0.0
    if not is_zero:
        add_left(low, high, ahead, entries, Y, s.moved, s.ids, s.left, s.total)
    for f in range(s.x.size):
        s.x[f] = s.moved[f] * s.root[f]
        s.r[f] = s.h[f] * s.total[f] - s.x[f]


@device
def _descend(u, n_steps, tolerance, entries, Y, s):
    """Take the steps; return the estimated relative error and |p|^2.

    The error is nan if the tolerance is not reached.
    """
    widest = s.root[s.h.size]
    near = (max(tolerance, np.finfo(Y.dtype).eps) / widest) ** 2
    size = length = 0.0
    for f in range(s.r.size):
        size += np.float64(s.r[f]) * np.float64(s.r[f])
        length += np.float64(s.moved[f]) * np.float64(s.moved[f])
    steps = 0
    for _restart in range(_MAX_RESTARTS):
        for f in range(s.p.size):
            s.p[f] = s.r[f]
        while steps < n_steps and size > near * length:
            steps += 1
            size, length = _step(u, size, entries, Y, s)
            if not size < np.inf:
                return np.nan, length
        if tolerance == 0.0:
            break
        size = _true_residual(u, entries, Y, s)
        if size <= near * length:
            break
        if steps >= n_steps or not size < np.inf:
            return np.nan, length
    if tolerance > 0.0 and size > near * length:
        return np.nan, length
    return np.sqrt(size / length) * widest if length > 0.0 else 0.0, length


@device
def _step(u, size, entries, Y, s):
    """Take one step of conjugate gradients; return the new |r|^2 and |p|^2, in float64."""
    for f in range(s.p.size):
        s.moved[f] = s.h[f] * s.p[f]
        s.total[f] = 0.0
    _add_products(u, entries, Y, s)
    curved = 0.0
    for f in range(s.p.size):
        s.total[f] = s.p[f] + s.h[f] * s.total[f]
        curved += np.float64(s.p[f]) * np.float64(s.total[f])
    along = size / curved
    new = length = 0.0
    for f in range(s.p.size):
        s.x[f] += along * s.p[f]
        s.r[f] -= along * s.total[f]
        new += np.float64(s.r[f]) * np.float64(s.r[f])
        length += (s.h[f] * s.x[f]) * (s.h[f] * s.x[f])
    back = new / size
    for f in range(s.p.size):
        s.p[f] = s.r[f] + back * s.p[f]
    return new, length


@device
def _add_products(u, entries, Y, s):
    """Add sum_e c_e (y_e . moved) y_e to total."""
    low, high = entries.indptr[u], entries.indptr[u + 1]
    for e in range(low, high, TILE):
        m = min(high - e, TILE)
        for r in range(TILE):
            s.ids[r] = entries.indices[e + min(r, m - 1)]
        dot_rows(Y, s.ids, 0, s.moved, s.left)
        for r in range(m):
            s.left[r] *= curvature(entries, e + r)
        for r in range(m, TILE):
            s.left[r] = 0.0
        add_rows(Y, s.ids, 0, s.left, s.total)


@device
def _true_residual(u, entries, Y, s):
    """Set r = Z'b - (I + Z_c' Z_c) x by sums in float64; return |r|^2."""
    low, high = entries.indptr[u], entries.indptr[u + 1]
    for f in range(s.x.size):
        s.moved64[f] = s.h[f] * s.x[f]
        s.residual[f] = 0.0
    add_left(low, high, (0, 0), entries, Y, s.moved64, s.ids, s.left64, s.residual)
    size = 0.0
    for f in range(s.x.size):
        s.r[f] = s.h[f] * s.residual[f] - s.x[f]
        size += np.float64(s.r[f]) * np.float64(s.r[f])
    return size
