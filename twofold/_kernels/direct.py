"""The direct row solve: ALS half-step and fold-in.

For one row with columns k, curvatures c_k, linear terms b_k, ridge mu and all-cells Gramian G:

    p = (G + mu I + sum_k c_k q_k q_k')^-1  sum_k b_k q_k

In whitened coordinates, with G = V S V', h = (S + mu)^-1/2 and z_k = h * (V' q_k), it is

    p = V (h * p^),    p^ = (I + Z' C Z)^-1 Z' b                    primal, k x k
                          = Z_c' (I + Z_c Z_c')^-1 (b / sqrt(c))    dual, d x d, Z_c = sqrt(C) Z

which is better conditioned, and for every row the cheaper of the two is taken. Whitened arrays have
columns of zeros up to a multiple of 8, for which S is 1, so that there is no remainder.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.dense import (
    add_products_row,
    cholesky,
    padded_leading_dim,
    set_products_row,
    solve_transposed,
    solve_upper,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.rows import (
    DUAL,
    DUAL_ERROR,
    ENOUGH,
    PRIMAL,
    SOLVED,
    UNSUITABLE,
    add_left,
    fetch,
    following,
    times,
    transposed_times,
    whitening,
)
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import gather_transposed
from twofold._kernels.vectors.tasks import next_task

_PANEL = 64  # entries gathered at a time: they fit into the first cache

# Measured, as DUAL_ERROR: the error of the primal way, and that by (rounding unit) x (size of the
# terms of the right-hand side, which may cancel, relative to the solution).
_PRIMAL_ERROR, _CANCELLATION_ERROR = 0.5, 0.25
_LONG = 4096  # entries over which the rounding errors of a sum of panels reach those of one panel

_ENOUGH_64, _LIMIT_64 = 1e-12, 1e-10  # as ENOUGH, in float64; the largest error that is accepted
_MAX_REFINEMENTS = 8
_CONTRACTION = 4.0
_ROUNDING_64 = 2.2e-16
_CANCELLED = 1e-12  # change relative to the terms that cancel, at which a row has settled


class Scratch(NamedTuple):
    """Working memory of one thread."""

    Z: Any
    """A panel of whitened entries, or Z_c'."""
    U: Any
    """The k x k or d x d matrix, then its Cholesky factor."""
    inverse: Any
    """1 / its diagonal."""
    ids: Any
    root: Any
    """sqrt(c) of the entries."""
    x: Any
    """Right-hand side and solution of the dual system."""
    w: Any
    """p^."""
    moved: Any
    h: Any
    exact: Any
    """The row in float64."""
    residual: Any
    turned: Any
    """V p."""
    total: Any
    left: Any
    """b_e - c_e q_e.p of eight entries, and their columns."""
    left_ids: Any
    numbers: Any
    """0, 1, 2, ..."""


@kernel
def solve_directly(counter, n_tasks, tasks, entries, columns, out, report):
    """Solve the rows of the tasks; ``out`` is rotated as ``columns.rotated`` is.

    A row whose estimated rounding error is too large is refined with residuals in float64
    (Wilkinson; Golub & Van Loan, section 3.5.3), so that the factorisation itself can stay in
    float32. A row that whitening does not suit (c < 0, or too ill-conditioned for its dtype) or
    whose solution is not finite is reported as UNSUITABLE.
    """
    Y = columns.rotated
    k = Y.shape[1]
    s = Scratch(
        np.zeros((max(k, _PANEL), padded_leading_dim(k)), Y.dtype),
        np.zeros((k, padded_leading_dim(k)), Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, np.int32),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k, Y.dtype),
        np.zeros(k),
        np.zeros(k),
        np.zeros(k),
        np.zeros(k),
        np.zeros(TILE),
        np.zeros(TILE, np.int32),
        np.arange(k).astype(np.int32),
    )
    mu = -1.0
    task = next_task(counter)
    while task < n_tasks:
        end = tasks.bounds[task + 1]
        for place in range(tasks.bounds[task], end):
            u = tasks.rows[place]
            if entries.scale[u] != mu:
                mu = entries.scale[u]
                whitening(columns.spectrum, mu, s.h)
            ahead = following(tasks.rows, place, end, entries)
            _solve_row(u, mu, ahead, entries, columns, s, out, report)
        task = next_task(counter)


@inlined
def _solve_row(u, mu, ahead, entries, columns, s, out, report):
    Y = columns.rotated
    unit = np.finfo(Y.dtype).eps
    low, high = entries.indptr[u], entries.indptr[u + 1]
    dual = high - low <= Y.shape[1]
    trace = spread = np.nan
    if dual:
        trace, spread = _solve_dual(low, high, ahead, entries, Y, s)
        dual = not np.isnan(trace)
    if not dual:
        trace, spread = _solve_primal(low, high, ahead, entries, Y, s)
    rounding = unit * trace * (1.0 + (high - low) / _LONG)
    length = largest = size = 0.0
    for f in range(Y.shape[1]):
        out[u, f] = s.h[f] * s.w[f]
        length += np.float64(s.w[f]) * np.float64(s.w[f])
        size += np.float64(out[u, f]) * np.float64(out[u, f])
        largest = max(largest, np.float64(s.h[f]))
    error = rounding * (DUAL_ERROR if dual else _PRIMAL_ERROR)
    if spread > 0.0:
        error += _CANCELLATION_ERROR * unit * spread / np.sqrt(length)
    if not error < (ENOUGH if unit > 1e-10 else _ENOUGH_64) and rounding < 0.5:
        error = _refined(u, mu, dual, rounding, spread * largest, entries, columns, s, out)
        error = max(error, _ROUNDING_64 * trace)
    # A comparison with nan is false: what cannot be factorised or is not finite is not solved.
    is_solved = error < (2.0 * ENOUGH if unit > 1e-10 else _LIMIT_64) and _is_in_range(size, unit)
    report.status[u] = SOLVED if is_solved else UNSUITABLE
    report.route[u] = DUAL if dual else PRIMAL
    report.error[u] = error


@device
def _is_in_range(size, unit):
    """Tell whether nothing can have overflowed or lost digits near zero, by the squared length."""
    if unit < 1e-10:
        return size < 1e300
    return 1e-60 < size < 1e76 or size == 0.0


@inlined
def _solve_dual(low, high, ahead, entries, Y, s):
    """Set w = p^ = Z_c' x with (I + Z_c Z_c') x = b / sqrt(c).

    Z becomes Z_c', U the Cholesky factor. Returns the trace of Z_c Z_c' and sum_e |x_e| |z_e|; nan
    if that cannot be done.
    """
    d = high - low
    dp = (d + TILE - 1) // TILE * TILE
    real = Y.dtype.type
    for e in range(d):
        c = curvature(entries, low + e)
        if not c > 0.0:
            return np.nan, np.nan
        root = np.sqrt(c)
        s.ids[e] = entries.indices[low + e]
        s.root[e] = real(root)
        s.x[e] = real(linear(entries, low + e) / root)
    for e in range(d, dp):
        s.ids[e] = s.ids[0]
        s.root[e] = s.x[e] = 0.0
    for e in range(0, dp, TILE):
        gather_transposed(Y, s.ids, e, s.h, s.root, s.Z)
    coming, end = ahead
    share = -(-(end - coming) * TILE // dp)
    for i in range(0, dp, TILE):
        fetch(Y, entries.indices, coming, min(coming + share, end))
        coming += share
        set_products_row(s.Z, Y.shape[1], dp, i, s.U)
    trace = 0.0
    for e in range(dp):
        s.moved[e] = s.U[e, e]
        trace += s.U[e, e]
    _prepare(s.U, dp, s.x)
    if not cholesky(s.U, s.inverse, dp, dp + TILE, 0.0):
        return np.nan, np.nan
    for e in range(dp):
        s.x[e] = s.U[e, dp]
    solve_upper(s.U, s.inverse, dp, s.x)
    spread = 0.0
    for e in range(d):
        spread += np.float64(abs(s.x[e]) * np.sqrt(s.moved[e]))
    for f in range(s.w.size):
        s.w[f] = 0.0
    _add_combination(Y, s.ids, s.root, s.x, d, s.w)
    for f in range(s.w.size):
        s.w[f] *= s.h[f]
    return trace, spread


@device
def _prepare(U, n, rhs):
    """Add I to U[:n, :n] and put rhs into the tile to the right."""
    for i in range(n):
        U[i, i] += 1.0
        U[i, n] = rhs[i]
        for j in range(n + 1, n + TILE):
            U[i, j] = 0.0


@device
def _add_combination(Y, ids, root, x, d, out):
    """Add sum_e x[e] root[e] Y[ids[e]] to out, for e < d; four at a time."""
    whole = d // 4 * 4
    for e in range(0, whole, 4):
        i0, i1, i2, i3 = ids[e], ids[e + 1], ids[e + 2], ids[e + 3]
        x0, x1 = x[e] * root[e], x[e + 1] * root[e + 1]
        x2, x3 = x[e + 2] * root[e + 2], x[e + 3] * root[e + 3]
        for f in range(out.size):
            out[f] += x0 * Y[i0, f] + x1 * Y[i1, f] + x2 * Y[i2, f] + x3 * Y[i3, f]
    for e in range(whole, d):
        i, value = ids[e], x[e] * root[e]
        for f in range(out.size):
            out[f] += value * Y[i, f]


@inlined
def _solve_primal(low, high, ahead, entries, Y, s):
    """Set w = p^ with (I + Z'CZ) p^ = Z' b; Z is gathered in panels.

    U becomes the Cholesky factor. The right-hand side is summed in float64, which thousands of
    entries of one sign need. Returns the trace of Z'CZ and a bound of the root mean square of the
    terms b_e z_e; nan if a c is negative or there is no factor.
    """
    k = Y.shape[1]
    largest = 0.0
    for f in range(k):
        s.exact[f] = 0.0
    for start in range(low, high, _PANEL):
        stop = min(start + _PANEL, high)
        square = _gather(start, stop, entries, Y, s)
        if np.isnan(square):
            return np.nan, np.nan
        largest = max(largest, square)
        if stop < high:
            coming, end = stop, min(stop + _PANEL, high)
        else:
            coming, end = ahead
            end = min(coming + _PANEL, end)
        share = -(-(end - coming) * TILE // k)
        for i in range(0, k, TILE):
            fetch(Y, entries.indices, coming, min(coming + share, end))
            coming += share
            if start == low:
                set_products_row(s.Z, stop - start, k, i, s.U)
            else:
                add_products_row(s.Z, stop - start, k, i, s.U)
    trace = 0.0
    for f in range(k):
        s.w[f] = s.exact[f]
        trace += s.U[f, f]
    _prepare(s.U, k, s.w)
    if not cholesky(s.U, s.inverse, k, k + TILE, 0.0):
        return np.nan, np.nan
    for f in range(k):
        s.w[f] = s.U[f, k]
    solve_upper(s.U, s.inverse, k, s.w)
    return trace, np.sqrt(largest * trace)


@device
def _gather(low, high, entries, Y, s):
    """Write sqrt(c_e) z_e of the entries into Z and add sum b_e z_e to ``exact``.

    Returns the largest b^2 / c, or nan if a c is negative.
    """
    k = Y.shape[1]
    real = Y.dtype.type
    largest = 0.0
    for f in range(k):
        s.w[f] = 0.0
    for e in range(low, high):
        c, b = curvature(entries, e), linear(entries, e)
        if not c >= 0.0:
            return np.nan
        if c > 0.0:
            largest = max(largest, b * b / c)
        root, b = real(np.sqrt(c)), real(b)
        i, place = entries.indices[e], e - low
        for f in range(k):
            value = s.h[f] * Y[i, f]
            s.Z[place, f] = root * value
            s.w[f] += b * value
    for f in range(k):
        s.exact[f] += s.w[f]
    return largest


@device
def _refined(u, mu, dual, rounding, floor, entries, columns, s, out):
    """Refine row u of ``out`` with residuals in float64; return an estimate of its error.

    A step multiplies the error by some factor: at first by ``rounding`` times `_CONTRACTION` at
    most, and then by the ratio of the last two changes, from which the rest follows. Where the
    terms of the right-hand side cancel, an error of ``floor`` times `_CANCELLED` is accepted.
    """
    k = s.w.size
    real = out.dtype.type
    enough = ENOUGH if np.finfo(out.dtype).eps > 1e-10 else _ENOUGH_64
    low, high = entries.indptr[u], entries.indptr[u + 1]
    contraction = min(_CONTRACTION * rounding, 0.89)
    last, change, error = -1.0, 0.0, np.nan
    for f in range(k):
        s.exact[f] = np.float64(out[u, f])
    for _attempt in range(_MAX_REFINEMENTS):
        _residual(low, high, mu, entries, columns, s)
        for f in range(k):
            s.w[f] = s.h[f] * real(s.residual[f])
        if dual:
            _apply_dual(high - low, columns.rotated, s)
        else:
            solve_transposed(s.U, s.inverse, k, s.w)
            solve_upper(s.U, s.inverse, k, s.w)
        change = length = 0.0
        for f in range(k):
            move = np.float64(s.h[f] * s.w[f])
            s.exact[f] += move
            change += move * move
            length += s.exact[f] * s.exact[f]
        change, length = np.sqrt(change), np.sqrt(length)
        if last > 0.0:
            contraction = change / last
        last = change
        left = change * contraction / (1.0 - contraction) if contraction < 0.9 else np.inf
        if not left < np.inf:
            break
        if left <= enough * length or change <= _CANCELLED * floor:
            error = left / length if left <= enough * length else enough
            break
    for f in range(k):
        out[u, f] = real(s.exact[f])
    return 0.0 if change == 0.0 else error


@device
def _apply_dual(d, Y, s):
    """Replace w by (I + Z'CZ)^-1 w = w - Z_c' (I + Z_c Z_c')^-1 Z_c w."""
    dp = (d + TILE - 1) // TILE * TILE
    for f in range(s.w.size):
        s.moved[f] = s.h[f] * s.w[f]
    for e in range(dp):
        total = Y.dtype.type(0.0)
        i = s.ids[e]
        for f in range(s.w.size):
            total += Y[i, f] * s.moved[f]
        s.x[e] = -s.root[e] * total
    solve_transposed(s.U, s.inverse, dp, s.x)
    solve_upper(s.U, s.inverse, dp, s.x)
    for f in range(s.w.size):
        s.moved[f] = 0.0
    _add_combination(Y, s.ids, s.root, s.x, d, s.moved)
    for f in range(s.w.size):
        s.w[f] += s.h[f] * s.moved[f]


@device
def _residual(low, high, mu, entries, columns, s):
    """Set the residual V' sum_e (b_e - c_e q_e.(V p)) q_e - (S + mu) p, from the unrotated Q."""
    k = s.w.size
    rotates = columns.vectors.size > 0
    x, total = (s.turned, s.total) if rotates else (s.exact, s.residual)
    if rotates:
        times(columns.vectors, s.exact, s.numbers, s.left, x)
    for f in range(k):
        total[f] = 0.0
    add_left(low, high, (0, 0), entries, columns.factors, x, s.left_ids, s.left, total)
    if rotates:
        transposed_times(columns.vectors, total, s.numbers, s.left, s.residual)
    for f in range(k):
        s.residual[f] -= (columns.spectrum[f] + mu) * s.exact[f]
