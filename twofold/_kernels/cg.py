"""Row solve by conjugate gradients in whitened coordinates, started from the previous factors.

In the coordinates of `direct`, (I + Z_c' Z_c) p^ = Z' b, the Gramian is part of the identity. It
adds no cost, and the condition number depends on the entries of the row only.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.dense import padded
from twofold._kernels.jit import device, kernel
from twofold._kernels.rows import (
    CG,
    DUAL_ERROR,
    SOLVED,
    UNSUITABLE,
    add_normal_terms,
    next_row_range,
    set_ids,
    set_row_sums,
    set_terms,
    whitening,
)
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import prefetch_row, set_normal_terms
from twofold._kernels.vectors.sums import dot
from twofold._kernels.vectors.tasks import next_task

CHUNK = 1024
"""Rows in a task of `squared_lengths`."""
_MAX_RESTARTS = 5
_MAX_ROUNDING = 0.05  # eps x trace, beyond which a step may increase the objective


class Scratch(NamedTuple):
    """Working memory of one thread."""

    x: Any
    """p^ in float64."""
    scaled64: Any
    residual: Any
    r: Any
    p: Any
    scaled: Any
    total: Any
    h: Any
    inverse_h: Any
    """1 / h, followed by the largest h."""
    ids: Any
    """Columns of the entries of the row, padded to tiles like the arrays below."""
    b: Any
    """Their linear terms."""
    c: Any
    """Their curvatures."""
    zeros: Any
    dots: Any
    """Their predictions y.x."""
    step_dots: Any
    """Those of the search direction."""
    terms: Any
    """Working memory of `add_normal_terms`."""
    terms64: Any


@kernel
def squared_lengths(counter, n_tasks, Y, spectrum, mu, out):
    """Set ``out`` to |z_i|^2 for every row of Y; a task is `CHUNK` rows."""
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
    counter, n_tasks, tasks, entries, columns, min_ridge, start, n_steps, tolerance, excess, out,
    report,
):  # fmt: skip
    """Run at most n_steps of conjugate gradients for each row (Hestenes & Stiefel 1952).

    ``start`` and ``out`` are in the coordinates of ``columns.rotated``. ``min_ridge`` is the ridge
    for which ``columns.lengths`` were computed; it is at most the ridge of any row.

    With an excess > 0 and without a tolerance, the iteration also stops when |r|^2 is at most the
    excess. All eigenvalues of the matrix are >= 1, so the objective of the row exceeds its minimum,
    r' (I + Z_c' Z_c)^-1 r, by no more than |r|^2.

    With a tolerance > 0, the iteration stops when the residual r bounds the relative error by it.
    All eigenvalues of the matrix are >= 1, so the error of p^ is at most |r|, and that of p at most
    max(h) |r|. The residual of the recurrence does not include rounding errors. It is therefore
    recomputed in float64, and the iteration restarted if it is too large.

    The status is UNSUITABLE if the tolerance or the excess is not reached, if a c is negative, if
    the solution is not finite, or if the rounding errors of Y are too large.
    """
    Y, spectrum = columns.rotated, columns.spectrum
    k, longest = Y.shape[1], padded(tasks.longest)
    s = Scratch(
        np.zeros(k),
        np.zeros(k),
        np.zeros(k),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k + 1),
        np.empty(longest, np.int32),
        np.empty(longest),
        np.empty(longest),
        np.zeros(longest),
        np.empty(longest, Y.dtype),
        np.empty(longest, Y.dtype),
        np.empty(longest, Y.dtype),
        np.empty(longest),
    )
    largest_eigenvalue, largest_length = max(0.0, np.max(spectrum)), 0.0
    for i in range(columns.lengths.size):
        length = columns.lengths[i]
        largest_length = max(largest_length, length if length < np.inf else np.inf)
    limit = tolerance / DUAL_ERROR if tolerance > 0.0 else _MAX_ROUNDING
    mu = -1.0
    task = next_task(counter)
    while task < n_tasks:
        end = tasks.bounds[task + 1]
        for position in range(tasks.bounds[task], end):
            u = tasks.rows[position]
            if entries.scale[u] != mu:
                mu = entries.scale[u]
                _whiten(spectrum, mu, s)
            next_range = next_row_range(tasks.rows, position, end, entries, Y)
            if position + 1 < end:
                prefetch_row(start, tasks.rows[position + 1])
            # (S + min_ridge) / (S + mu) increases with S, so this bounds each |z|^2 from above.
            ratio = (largest_eigenvalue + min_ridge) / (largest_eigenvalue + mu)
            set_ids(u, entries, s.ids)
            set_terms(entries.indptr[u], entries.indptr[u + 1], entries, s.b, s.c)
            largest_trace = limit / (np.finfo(Y.dtype).eps * ratio)
            error = size = np.nan
            if _is_trace_below(largest_trace, u, entries, columns.lengths, largest_length, s.c):
                _start_row(u, next_range, entries, Y, start, s)
                error, size = _iterate(u, n_steps, tolerance, excess, entries, Y, s)
            for f in range(Y.shape[1]):
                out[u, f] = s.h[f] * s.x[f]
            is_solved = error < np.inf and size < (1e76 if np.finfo(Y.dtype).eps > 1e-10 else 1e300)
            report.status[u] = SOLVED if is_solved else UNSUITABLE
            report.route[u] = CG
            report.error[u] = error
            if report.sums.size:
                set_row_sums(u, entries, s.dots, dot(s.x, s.x), s.b, s.c, report.sums)
        task = next_task(counter)


@device
def _whiten(spectrum, mu, s):
    whitening(spectrum, mu, s.h)
    max_h = 0.0
    for f in range(s.h.size):
        s.inverse_h[f] = np.sqrt(spectrum[f] + mu)
        max_h = max(max_h, np.float64(s.h[f]))
    s.inverse_h[s.h.size] = max_h


@device
def _is_trace_below(limit, u, entries, lengths, largest_length, c):
    """Return whether sum_e c_e |z_e|^2 of a row is at most the limit, and no c is negative.

    Most rows need not read the lengths, because the limit exceeds ``largest_length`` sum_e c_e.
    """
    low, total, any_negative = entries.indptr[u], 0.0, False
    d = entries.indptr[u + 1] - low
    for e in range(d):
        any_negative |= c[e] < 0.0
        total += c[e]
    bound = total * largest_length
    if not any_negative and not bound <= limit:
        bound = 0.0
        for e in range(d):
            bound += c[e] * lengths[entries.indices[low + e]]
    return not any_negative and bound <= limit


@device
def _start_row(u, next_range, entries, Y, start, s):
    """Set x to the initial guess, or to 0 if the right-hand side is 0, and r to its residual."""
    d, is_zero = entries.indptr[u + 1] - entries.indptr[u], True
    for e in range(d):
        is_zero &= s.b[e] == 0.0
    for f in range(s.x.size):
        s.scaled[f] = 0.0 if is_zero else start[u, f]
        s.total[f] = 0.0
    add_normal_terms(
        d, next_range, entries.indices, Y, s.scaled, s.ids, s.b, s.c, s.dots, s.terms, s.total
    )  # fmt: skip
    for f in range(s.x.size):
        s.x[f] = s.scaled[f] * s.inverse_h[f]
        s.r[f] = s.h[f] * s.total[f] - s.x[f]


@device
def _iterate(u, n_steps, tolerance, excess, entries, Y, s):
    """Run the iteration; return the estimated relative error and |p|^2.

    The error is nan if the tolerance or the excess is not reached.
    """
    max_h = s.inverse_h[s.h.size]
    relative_tolerance2 = (max(tolerance, np.finfo(Y.dtype).eps) / max_h) ** 2
    size, length = dot(s.r, s.r), dot(s.scaled, s.scaled)
    steps = 0
    for _restart in range(_MAX_RESTARTS):
        for f in range(s.p.size):
            s.p[f] = s.r[f]
        while steps < n_steps and size > max(relative_tolerance2 * length, excess):
            steps += 1
            if steps == n_steps and tolerance == 0.0 and excess == 0.0:
                size, length = _last_step(u, size, entries, Y, s)
            else:
                size, length = _step(u, size, entries, Y, s)
            if not size < np.inf:
                return np.nan, length
        if tolerance == 0.0:
            break
        size = _recompute_residual(u, entries, Y, s)
        if size <= relative_tolerance2 * length:
            break
        if steps >= n_steps or not size < np.inf:
            return np.nan, length
    if not size < np.inf:
        return np.nan, length
    if (tolerance > 0.0 or excess > 0.0) and size > max(relative_tolerance2 * length, excess):
        return np.nan, length
    return np.sqrt(size / length) * max_h if length > 0.0 else 0.0, length


@device
def _step(u, size, entries, Y, s):
    """Run one step of conjugate gradients; return the new |r|^2 and |p|^2, in float64."""
    for f in range(s.p.size):
        s.scaled[f] = s.h[f] * s.p[f]
        s.total[f] = 0.0
    d = entries.indptr[u + 1] - entries.indptr[u]
    add_normal_terms(
        d, (0, 0), s.ids, Y, s.scaled, s.ids, s.zeros, s.c, s.step_dots, s.terms, s.total
    )  # fmt: skip
    for f in range(s.p.size):
        s.total[f] = s.p[f] - s.h[f] * s.total[f]
    alpha = size / dot(s.p, s.total)
    for f in range(s.p.size):
        s.r[f] -= alpha * s.total[f]
    length = _move(alpha, d, s)
    new_size = dot(s.r, s.r)
    beta = new_size / size
    for f in range(s.p.size):
        s.p[f] = s.r[f] + beta * s.p[f]
    return new_size, length


@device
def _last_step(u, size, entries, Y, s):
    """Run a step without the residual after it, which needs a product with Z' less.

    Return a bound of the square of the error of x after the step, and |p|^2. In the norm of
    A = I + Z_c' Z_c the error is at most |r| before the step, and the step decreases its square by
    alpha |r|^2.
    """
    for f in range(s.p.size):
        s.scaled[f] = s.h[f] * s.p[f]
    d = entries.indptr[u + 1] - entries.indptr[u]
    dots, terms = s.step_dots[: padded(d)], s.terms[: padded(d)]
    for e in range(0, d, TILE):
        set_normal_terms(Y, s.ids, e, s.scaled, s.zeros, s.c, dots, terms)
    alpha = size / (dot(s.p, s.p) - dot(terms, dots))
    length = _move(alpha, d, s)
    return size * max(1.0 - alpha, 0.0), length


@device
def _move(alpha, d, s):
    """Add alpha times the search direction to x and the predictions; return |p|^2."""
    for e in range(d):
        s.dots[e] += alpha * s.step_dots[e]
    for f in range(s.p.size):
        s.x[f] += alpha * s.p[f]
        s.scaled[f] = s.h[f] * s.x[f]
    return dot(s.scaled, s.scaled)


@device
def _recompute_residual(u, entries, Y, s):
    """Set r = Z'b - (I + Z_c' Z_c) x, summed in float64; return |r|^2."""
    d = entries.indptr[u + 1] - entries.indptr[u]
    for f in range(s.x.size):
        s.scaled64[f] = s.h[f] * s.x[f]
        s.residual[f] = 0.0
    add_normal_terms(
        d, (0, 0), s.ids, Y, s.scaled64, s.ids, s.b, s.c, s.dots, s.terms64, s.residual
    )  # fmt: skip
    for f in range(s.x.size):
        s.r[f] = s.h[f] * s.residual[f] - s.x[f]
    return dot(s.r, s.r)
