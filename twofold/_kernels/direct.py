"""Direct row solve of the ALS half-step and of fold-in.

For one row with columns k, curvatures c_k, linear terms b_k, ridge mu and Gramian G = a0 Q'Q:

    p = (G + mu I + sum_k c_k q_k q_k')^-1  sum_k b_k q_k

In whitened coordinates, with G = V S V', h = (S + mu)^-1/2 and z_k = h * (V' q_k), it is

    p = V (h * p^),    p^ = (I + Z' C Z)^-1 Z' b                    primal, k x k
                          = Z_c' (I + Z_c Z_c')^-1 (b / sqrt(c))    dual, d x d, Z_c = sqrt(C) Z

which is better conditioned. Each row uses the cheaper of the two. The width of whitened arrays is
padded with zeros, and S with ones, to a multiple of 8, so that loops over tiles have no remainder.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.dense import (
    add_products_row,
    cholesky,
    padded,
    padded_leading_dim,
    set_products_row,
    solve_transposed,
    solve_upper,
    symmetric_norm,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.rows import (
    DUAL,
    DUAL_ERROR,
    PRIMAL,
    ROW_TOLERANCE,
    SOLVED,
    UNSUITABLE,
    add_normal_terms,
    matvec,
    next_row_range,
    prefetch_rows,
    rmatvec,
    set_ids,
    set_row_sums,
    set_terms,
    whitening,
)
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import dot_rows, gather_scaled, gather_transposed
from twofold._kernels.vectors.sums import dot
from twofold._kernels.vectors.tasks import next_task

_PANEL_BYTES = 1 << 15  # most bytes gathered at a time, so that they fit into the L1 cache

# Measured error bounds of the primal route. The error of p^ is about 0.5 eps |Z'CZ|_F |p^| in
# a random direction, so that of p is as many times the root mean square of h. A right-hand side
# whose terms cancel adds eps x (size of its terms, relative to the solution).
_PRIMAL_ERROR, _CANCELLATION_ERROR = 0.5, 0.25
_LONG_ROW = 4096  # entries at which the rounding error of summing panels equals that of one panel

_ROW_TOLERANCE_64, _MAX_ERROR_64 = 1e-12, 1e-10  # ROW_TOLERANCE and the largest error in float64
_MAX_SINGLE_TRACE = 64.0  # c |z|^2 of a single entry, below which no refinement is needed
_MAX_REFINEMENTS = 8
_CONTRACTION = 4.0
_ROUNDING_64 = 2.2e-16
_CANCELLATION_TOLERANCE = 1e-12  # change, relative to the terms that cancel, that counts as zero


class Scratch(NamedTuple):
    """Working memory of one thread."""

    Z: Any
    """A panel of whitened entries (primal), or Z_c' (dual)."""
    U: Any
    """The k x k or d x d matrix, overwritten by its Cholesky factor."""
    inverse: Any
    """1 / the diagonal of the Cholesky factor."""
    ids: Any
    """Columns of the entries, padded to a multiple of 8."""
    sqrt_c: Any
    """sqrt(c) of the entries."""
    x: Any
    """Right-hand side and solution of the dual system."""
    w: Any
    """p^."""
    work: Any
    h: Any
    row64: Any
    """The solution, or the right-hand side, in float64."""
    residual: Any
    unrotated: Any
    """V p."""
    total: Any
    buffer: Any
    """Eight elements of a product with V or Y."""
    arange: Any
    """0, 1, 2, ..."""
    b: Any
    """Linear terms of all entries, padded with zeros like the arrays below."""
    c: Any
    """Their curvatures."""
    dots: Any
    """Their predictions."""
    terms: Any
    """Working memory of `add_normal_terms`."""


@kernel
def solve_direct(counter, n_tasks, tasks, entries, columns, out, report):
    """Solve the rows of the tasks; ``out`` is in the coordinates of ``columns.rotated``.

    If the estimated rounding error is too large, the solution is refined with residuals in float64
    (Wilkinson; Golub & Van Loan, section 3.5.3), so that the factorisation can be computed in
    float32. The status is UNSUITABLE if a c is negative, if the matrix is too ill-conditioned for
    the dtype, or if the solution is not finite.
    """
    Y = columns.rotated
    k, length, stride = Y.shape[1], padded(tasks.longest), padded_leading_dim(Y.shape[1])
    s = Scratch(
        np.zeros((max(k, _longest_panel(stride * Y.itemsize)), stride), Y.dtype),
        np.zeros((k, stride), Y.dtype),
        np.zeros(k, Y.dtype),
        np.empty(length, np.int32),
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
        np.arange(k).astype(np.int32),
        np.empty(length),
        np.empty(length),
        np.empty(length, Y.dtype),
        np.empty(length),
    )
    mu = mean_square = -1.0
    task = next_task(counter)
    while task < n_tasks:
        end = tasks.bounds[task + 1]
        for position in range(tasks.bounds[task], end):
            u = tasks.rows[position]
            if entries.scale[u] != mu:
                mu = entries.scale[u]
                whitening(columns.spectrum, mu, s.h)
                mean_square = _mean_square(s.h, columns.n_factors)
            next_range = next_row_range(tasks.rows, position, end, entries, Y)
            _solve_row(u, mu, mean_square, next_range, entries, columns, s, out, report)
        task = next_task(counter)


@inlined
def _solve_row(u, mu, mean_square, next_range, entries, columns, s, out, report):
    """Solve row u; ``mean_square`` is that of h."""
    Y = columns.rotated
    eps = np.finfo(Y.dtype).eps
    low, high = entries.indptr[u], entries.indptr[u + 1]
    # With d >= k the dual matrix has directions without any part of p^, whose terms cancel.
    dual = high - low < columns.n_factors
    trace = term_size = norm = np.nan
    set_ids(u, entries, s.ids)
    if dual:
        trace, term_size = _solve_dual(low, high, next_range, entries, Y, s)
        dual = not np.isnan(trace)
    if not dual:
        trace, norm, term_size = _solve_primal(low, high, next_range, entries, Y, s)
    growth = eps * (1.0 + (high - low) / _LONG_ROW)
    rounding = growth * trace
    for f in range(Y.shape[1]):
        out[u, f] = s.h[f] * s.w[f]
        s.work[f] = out[u, f]
    length, size = dot(s.w, s.w), dot(s.work, s.work)
    if dual:
        error = DUAL_ERROR * rounding
    else:
        error = _PRIMAL_ERROR * growth * norm
        if size > 0.0:
            error *= np.sqrt(mean_square * length / size)
    if term_size > 0.0:
        error += _CANCELLATION_ERROR * eps * term_size / np.sqrt(length)
    slope = np.nan
    if not error < (ROW_TOLERANCE if eps > 1e-10 else _ROW_TOLERANCE_64) and rounding < 0.5:
        error, slope = _refine(u, mu, dual, rounding, term_size * s.h[0], entries, columns, s, out)
        error = max(error, _ROUNDING_64 * trace)
    max_error = 2.0 * ROW_TOLERANCE
    # A nan, from a failed factorisation or an overflow, makes these comparisons false.
    is_solved = error < (max_error if eps > 1e-10 else _MAX_ERROR_64) and _is_in_range(size, eps)
    report.status[u] = SOLVED if is_solved else UNSUITABLE
    report.route[u] = DUAL if dual else PRIMAL
    report.error[u] = error
    if report.sums.size:
        if np.isnan(slope):
            slope = 0.0
            _set_dots(u, entries, Y, s, out)
        for f in range(Y.shape[1]):
            slope += (columns.spectrum[f] + mu) * np.float64(out[u, f]) ** 2
        set_row_sums(u, entries, s.dots, slope, s.b, s.c, report.sums)


@device
def _mean_square(x, n):
    """Return the mean of the squares of x[:n]."""
    total = 0.0
    for f in range(n):
        total += np.float64(x[f]) * np.float64(x[f])
    return total / n


@device
def _set_dots(u, entries, Y, s, out):
    """Set the predictions of row u, while the rows of Y are in the cache."""
    low, high = entries.indptr[u], entries.indptr[u + 1]
    for f in range(s.work.size):
        s.work[f] = out[u, f]
    for e in range(0, high - low, TILE):
        dot_rows(Y, s.ids, e, s.work, s.dots, e)


@device
def _is_in_range(size, eps):
    """Return whether the squared length excludes overflow and underflow."""
    if eps < 1e-10:
        return size < 1e300
    return 1e-60 < size < 1e76 or size == 0.0


@inlined
def _solve_dual(low, high, next_range, entries, Y, s):
    """Set w = p^ = Z_c' x with (I + Z_c Z_c') x = b / sqrt(c).

    Sets Z to Z_c' and U to the Cholesky factor, unless a single entry needs no refinement. Returns
    the trace of Z_c Z_c' and sum_e |x_e| |z_e|, or nan if a c is not positive or the factorisation
    fails.
    """
    d = high - low
    dp = padded(d)
    real = Y.dtype.type
    if d == 1:
        trace, term_size = _solve_single(low, next_range, entries, Y, s)
        if trace < _MAX_SINGLE_TRACE:
            return trace, term_size
    set_terms(low, high, entries, s.b, s.c)
    are_positive = True
    for e in range(d):
        are_positive &= s.c[e] > 0.0
    if not are_positive:
        return np.nan, np.nan
    for e in range(d):
        sqrt_c = np.sqrt(s.c[e])
        s.sqrt_c[e] = real(sqrt_c)
        s.x[e] = real(s.b[e] / sqrt_c)
    for e in range(d, dp):
        s.sqrt_c[e] = s.x[e] = 0.0
    for e in range(0, dp, TILE):
        gather_transposed(Y, s.ids, e, s.h, s.sqrt_c, s.Z)
    next_start, next_stop = next_range
    share = -(-(next_stop - next_start) * TILE // dp)
    for i in range(0, dp, TILE):
        prefetch_rows(Y, entries.indices, next_start, min(next_start + share, next_stop))
        next_start += share
        set_products_row(s.Z, Y.shape[1], dp, i, s.U)
    trace = 0.0
    for e in range(dp):
        s.work[e] = s.U[e, e]
        trace += s.U[e, e]
    for e in range(dp):
        s.U[e, e] += 1.0
    if not cholesky(s.U, s.inverse, dp, dp, 0.0):
        return np.nan, np.nan
    solve_transposed(s.U, s.inverse, dp, s.x)
    solve_upper(s.U, s.inverse, dp, s.x)
    term_size = 0.0
    for e in range(d):
        term_size += np.float64(abs(s.x[e]) * np.sqrt(s.work[e]))
    for f in range(s.w.size):
        s.w[f] = 0.0
    _add_combination(Y, s.ids, s.sqrt_c, s.x, d, s.w)
    for f in range(s.w.size):
        s.w[f] *= s.h[f]
    return trace, term_size


@device
def _solve_single(e, next_range, entries, Y, s):
    """Set w = p^ = b z / (1 + c |z|^2) for a row with the single entry e.

    Returns c |z|^2 and |p^|, or nan if c is not positive or p^ is out of range. The dual system of
    one entry would be padded to eight.
    """
    next_start, next_stop = next_range
    prefetch_rows(Y, entries.indices, next_start, min(next_start + TILE, next_stop))
    i, c, square = entries.indices[e], curvature(entries, e), 0.0
    for f in range(s.w.size):
        s.w[f] = s.h[f] * Y[i, f]
        square += np.float64(s.w[f]) * np.float64(s.w[f])
    factor = linear(entries, e) / (1.0 + c * square)
    rounded = Y.dtype.type(factor)
    if not (c > 0.0 and abs(rounded) < np.inf and (rounded != 0.0 or factor == 0.0)):
        return np.nan, np.nan
    for f in range(s.w.size):
        s.w[f] *= rounded
    return c * square, abs(factor) * np.sqrt(square)


@device
def _add_combination(Y, ids, sqrt_c, x, d, out):
    """Add sum_e x[e] sqrt_c[e] Y[ids[e]] for e < d to ``out``, four terms at a time."""
    whole = d // 4 * 4
    for e in range(0, whole, 4):
        i0, i1, i2, i3 = ids[e], ids[e + 1], ids[e + 2], ids[e + 3]
        x0, x1 = x[e] * sqrt_c[e], x[e + 1] * sqrt_c[e + 1]
        x2, x3 = x[e + 2] * sqrt_c[e + 2], x[e + 3] * sqrt_c[e + 3]
        for f in range(out.size):
            out[f] += x0 * Y[i0, f] + x1 * Y[i1, f] + x2 * Y[i2, f] + x3 * Y[i3, f]
    for e in range(whole, d):
        i, value = ids[e], x[e] * sqrt_c[e]
        for f in range(out.size):
            out[f] += value * Y[i, f]


@inlined
def _solve_primal(low, high, next_range, entries, Y, s):
    """Set w = p^ with (I + Z'CZ) p^ = Z' b; Z is gathered in panels.

    Sets U to the Cholesky factor. The right-hand side is summed in float64, because sums of
    thousands of terms of one sign lose digits in float32. Returns the trace and the Frobenius norm
    of Z'CZ and a bound of the root mean square of the terms b_e z_e, or nan if a c is negative or
    the factorisation fails.
    """
    k = Y.shape[1]
    largest = 0.0
    for f in range(k):
        s.row64[f] = 0.0
    n_panels = -(-(high - low) // _longest_panel(s.Z.shape[1] * s.Z.itemsize))
    length = padded(-(-(high - low) // n_panels))
    for start in range(low, high, length):
        stop = min(start + length, high)
        square = _gather(low, start, stop, entries, Y, s)
        if np.isnan(square):
            return np.nan, np.nan, np.nan
        largest = max(largest, square)
        if stop < high:
            next_start, next_stop = stop, min(stop + length, high)
        else:
            next_start, next_stop = next_range
            next_stop = min(next_start + length, next_stop)
        share = -(-(next_stop - next_start) * TILE // k)
        for i in range(0, k, TILE):
            prefetch_rows(Y, entries.indices, next_start, min(next_start + share, next_stop))
            next_start += share
            if start == low:
                set_products_row(s.Z, stop - start, k, i, s.U)
            else:
                add_products_row(s.Z, stop - start, k, i, s.U)
    norm, trace = symmetric_norm(s.U, k), 0.0
    for f in range(k):
        s.w[f] = s.row64[f]
        trace += s.U[f, f]
        s.U[f, f] += 1.0
    if not cholesky(s.U, s.inverse, k, k, 0.0):
        return np.nan, np.nan, np.nan
    solve_transposed(s.U, s.inverse, k, s.w)
    solve_upper(s.U, s.inverse, k, s.w)
    return trace, norm, np.sqrt(largest * trace)


@device
def _longest_panel(row_bytes):
    """Return how many entries are gathered at a time, a multiple of 8."""
    return max(_PANEL_BYTES // (row_bytes * TILE), 1) * TILE


@device
def _gather(first, low, high, entries, Y, s):
    """Write sqrt(c_e) z_e of the entries low:high to Z and add sum_e b_e z_e to ``row64``.

    ``first`` is the first entry of the row. Returns the largest b^2 / c, or nan if a c is negative.
    """
    real = Y.dtype.type
    are_equal = entries.targets.size + entries.weights.size + entries.excluded.size == 0
    largest = 0.0
    for f in range(s.w.size):
        s.w[f] = 0.0
    for e in range(low, high, TILE):
        m = min(high - e, TILE)
        for r in range(m if e == low or not are_equal else 0):
            c, b = curvature(entries, e + r), linear(entries, e + r)
            if not c >= 0.0:
                return np.nan
            if c > 0.0:
                largest = max(largest, b * b / c)
            s.sqrt_c[r], s.x[r] = real(np.sqrt(c)), real(b)
        for r in range(m, TILE):
            s.sqrt_c[r] = s.x[r] = 0.0
        gather_scaled(Y, s.ids, e - first, s.h, s.sqrt_c, s.Z, e - low, s.x, s.w)
    for f in range(s.w.size):
        s.row64[f] += s.w[f]
    return largest


@device
def _refine(u, mu, dual, rounding, term_size, entries, columns, s, out):
    """Refine row u of ``out`` with residuals in float64; return an estimate of its error.

    Also return by how much the last change changed the squared loss of the row. It is needed as the
    predictions are those before the change. It includes what the change adds to the part of the
    unobserved term that the entries exclude; terms of second order in the change are left out.

    Each step multiplies the error by a ratio, which is estimated by ``rounding`` times
    `_CONTRACTION` for the first step and by the ratio of the last two changes afterwards. The
    remaining error is the sum of the geometric series. If the terms of the right-hand side cancel,
    an error of ``term_size`` times `_CANCELLATION_TOLERANCE` is accepted.
    """
    k = s.w.size
    real = out.dtype.type
    tolerance = ROW_TOLERANCE if np.finfo(out.dtype).eps > 1e-10 else _ROW_TOLERANCE_64
    ratio = min(_CONTRACTION * rounding, 0.89)
    last_change, change, error, slope = -1.0, 0.0, np.nan, 0.0
    for f in range(k):
        s.row64[f] = np.float64(out[u, f])
    set_terms(entries.indptr[u], entries.indptr[u + 1], entries, s.b, s.c)
    for _attempt in range(_MAX_REFINEMENTS):
        _residual(u, mu, entries, columns, s)
        for f in range(k):
            s.w[f] = s.h[f] * real(s.residual[f])
        if dual:
            _apply_dual(entries.indptr[u + 1] - entries.indptr[u], columns.rotated, s)
        else:
            solve_transposed(s.U, s.inverse, k, s.w)
            solve_upper(s.U, s.inverse, k, s.w)
        change = length = slope = 0.0
        for f in range(k):
            update = np.float64(s.h[f] * s.w[f])
            # The residual and the gradient of the loss differ by that of the other terms.
            others = (columns.spectrum[f] + mu) * s.row64[f]
            slope -= 2.0 * (s.residual[f] + others) * update
            s.row64[f] += update
            change += update * update
            length += s.row64[f] * s.row64[f]
        change, length = np.sqrt(change), np.sqrt(length)
        if last_change > 0.0:
            ratio = change / last_change
        last_change = change
        remaining = change * ratio / (1.0 - ratio) if ratio < 0.9 else np.inf
        if not remaining < np.inf:
            break
        if remaining <= tolerance * length or change <= _CANCELLATION_TOLERANCE * term_size:
            error = remaining / length if remaining <= tolerance * length else tolerance
            break
    for f in range(k):
        out[u, f] = real(s.row64[f])
    return 0.0 if change == 0.0 else error, slope


@device
def _apply_dual(d, Y, s):
    """Replace w by (I + Z'CZ)^-1 w = w - Z_c' (I + Z_c Z_c')^-1 Z_c w."""
    dp = padded(d)
    for f in range(s.w.size):
        s.work[f] = s.h[f] * s.w[f]
    for e in range(0, dp, TILE):
        dot_rows(Y, s.ids, e, s.work, s.x, e)
    for e in range(dp):
        s.x[e] *= -s.sqrt_c[e]
    solve_transposed(s.U, s.inverse, dp, s.x)
    solve_upper(s.U, s.inverse, dp, s.x)
    for f in range(s.w.size):
        s.work[f] = 0.0
    _add_combination(Y, s.ids, s.sqrt_c, s.x, d, s.work)
    for f in range(s.w.size):
        s.w[f] += s.h[f] * s.work[f]


@device
def _residual(u, mu, entries, columns, s):
    """Set the residual to V' sum_e (b_e - c_e q_e.(V p)) q_e - (S + mu) p, with the unrotated Q."""
    k = s.w.size
    rotates = columns.vectors.size > 0
    x, total = (s.unrotated, s.total) if rotates else (s.row64, s.residual)
    if rotates:
        matvec(columns.vectors, s.row64, s.arange, x)
    for f in range(k):
        total[f] = 0.0
    add_normal_terms(
        entries.indptr[u + 1] - entries.indptr[u], (0, 0), s.ids, columns.factors, x, s.ids, s.b,
        s.c, s.dots, s.terms, total,
    )  # fmt: skip
    if rotates:
        rmatvec(columns.vectors, total, s.arange, s.buffer, s.residual)
    for f in range(k):
        s.residual[f] -= (columns.spectrum[f] + mu) * s.row64[f]
