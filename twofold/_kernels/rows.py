"""The exact row solve: ALS half-step and fold-in.

For one row with columns k, weights c_k, linear terms b_k, ridge mu and all-cells Gramian G:

    p = (G + mu I + sum_k c_k q_k q_k')^-1  sum_k b_k q_k

In whitened coordinates, with G = V S V', h = (S + mu)^-1/2 and z_k = h * (V' q_k), it is

    p = V (h * p^),    p^ = (I + Z' C Z)^-1 Z' b                    primal, k x k
                          = Z_c' (I + Z_c Z_c')^-1 (b / sqrt(c))    dual, d x d, Z_c = sqrt(C) Z

which is better conditioned and lets the cheaper of the two be taken for every row.
"""

import numpy as np
from numba import prange

from twofold._kernels.dense import (
    add_products,
    cholesky,
    padded,
    solve_transposed,
    solve_upper,
    transpose,
)
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.simd import TILE, next_task, prefetch_row

__all__ = [
    "UNSUITABLE",
    "gather",
    "prefetch_following",
    "solve_rows",
    "whitening",
]

SOLVED, UNSUITABLE = 0, 1
_AHEAD = 32  # entries of the next row that are prefetched
_PANEL = 64  # entries gathered at a time: they stay in the first cache, whatever the row's length

# Measured: the relative error of a row is at most 4e-7 + this much of (rounding unit) x (trace of
# Z'CZ), in float32.
_DUAL_ERROR, _PRIMAL_ERROR = 0.1, 0.5
_ENOUGH = 1e-6  # relative error from which a row is refined, and change at which that stops
_MAX_REFINEMENTS = 5


@parallel_jit
def solve_rows(
    n_workers, counter, rows, bounds, indptr, indices, c, b, spectrum, V, ridge, Y, Q, out, status
):
    """Solve the listed rows in whitened coordinates; ``out`` and ``Y`` = Q V are rotated by V.

    Rows whose rounding error could show are refined with residuals in float64 (Wilkinson; Golub &
    Van Loan, section 3.5.3), so that the factorisation itself can stay in float32. A row that
    whitening does not suit (c < 0, or too ill-conditioned for its dtype) is marked UNSUITABLE.
    V has no rows if nothing was rotated. The tasks are the ranges of ``rows`` between ``bounds``;
    ``counter`` (zero) hands them out, in order, to whichever worker is free.
    """
    k = Y.shape[1]
    kp = padded(k)
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for _worker in prange(n_workers):
        Z = np.zeros((max(kp, _PANEL), kp), Y.dtype)
        T = np.zeros((kp, kp), Y.dtype)
        U = np.zeros((kp, kp + TILE), Y.dtype)
        inverse = np.empty(kp, Y.dtype)
        x = np.zeros(kp, Y.dtype)
        w = np.zeros(kp, Y.dtype)
        h = np.empty(k, Y.dtype)
        exact = np.empty(k)
        residual = np.empty(k)
        mu = ridge[0]
        whitening(spectrum, mu, h)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                start, stop = indptr[u], indptr[u + 1]
                prefetch_following(rows, place, bounds[task + 1], indptr, indices, Y)
                if step_r:
                    mu = ridge[u]
                    whitening(spectrum, mu, h)
                trace = np.nan
                dual = stop - start <= k
                if dual:
                    trace = _solve_dual(
                        start, stop, indices, c, step_c, b, step_b, h, Y, Z, T, U, inverse, x, w
                    )
                    dual = not np.isnan(trace)
                if not dual:
                    trace = _solve_primal(
                        start, stop, indices, c, step_c, b, step_b, h, Y, Z, U, inverse, w
                    )
                error = unit * trace * (_DUAL_ERROR if dual else _PRIMAL_ERROR)
                # Also nan: it could not be factorised. Residuals in float64 do not refine float64.
                if not (unit * trace < 0.5 and (error < _ENOUGH or unit > 1e-10)):
                    status[u] = UNSUITABLE
                    continue
                for f in range(k):
                    out[u, f] = h[f] * w[f]
                if error < _ENOUGH:
                    continue
                for f in range(k):
                    exact[f] = np.float64(out[u, f])
                status[u] = UNSUITABLE  # unless it settles
                for _attempt in range(_MAX_REFINEMENTS):
                    _residual(
                        start, stop, indices, c, step_c, b, step_b, spectrum, mu, V, Q, exact,
                        residual,
                    )  # fmt: skip
                    for f in range(k):
                        w[f] = h[f] * real(residual[f])
                    if dual:
                        _refine_dual(stop - start, Z, U, inverse, x, w)
                    else:
                        solve_transposed(U, inverse, kp, w)
                        solve_upper(U, inverse, kp, w)
                    change = length = 0.0
                    for f in range(k):
                        move = np.float64(h[f] * w[f])
                        exact[f] += move
                        change += move * move
                        length += exact[f] * exact[f]
                    if change <= _ENOUGH * _ENOUGH * length:
                        status[u] = SOLVED
                        break
                for f in range(k):
                    out[u, f] = real(exact[f])
            task = next_task(counter)


@jit
def whitening(spectrum, mu, h):
    for f in range(h.size):
        h[f] = 1.0 / np.sqrt(spectrum[f] + mu)


@jit
def prefetch_following(rows, place, end, indptr, indices, Y):
    """Ask for the first entries of the next row, while this one is solved."""
    if place + 1 < end:
        start = indptr[rows[place + 1]]
        for e in range(start, min(start + _AHEAD, indptr[rows[place + 1] + 1])):
            prefetch_row(Y, indices[e])


@jit
def gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, rhs):
    """Write sqrt(c_k) z_k of the entries into Z, and add sum b_k z_k to rhs if it has room.

    Returns False if a c is negative.
    """
    k = Y.shape[1]
    real = Y.dtype.type
    for e in range(low, high):
        weight = c[e * step_c]
        if not weight >= 0.0:
            return False
        root = real(np.sqrt(weight))
        target = real(b[e * step_b])
        y = Y[indices[e]]
        z = Z[e - low]
        if rhs.size:
            for f in range(k):
                value = h[f] * y[f]
                z[f] = root * value
                rhs[f] += target * value
        else:
            for f in range(k):
                z[f] = root * (h[f] * y[f])
    return True


@jit
def _set_identity(U, n):
    """Set the upper triangle of U[:n, :n] to that of I, whole tiles of it, and 8 columns to 0."""
    for i in range(n):
        for j in range(i // TILE * TILE, n + TILE):
            U[i, j] = 0.0
        U[i, i] = 1.0


@jit
def _solve_dual(start, stop, indices, c, step_c, b, step_b, h, Y, Z, T, U, inverse, x, w):
    """Set w = p^ = Z' x with (I + Z Z') x = b / sqrt(c), where the rows of Z are sqrt(c_k) z_k.

    U becomes the Cholesky factor. Returns the trace of Z Z', nan if that cannot be done.
    """
    k = Y.shape[1]
    d = stop - start
    dp = padded(d)
    real = Y.dtype.type
    _set_identity(U, dp)
    trace = 0.0
    for e in range(d):
        weight = c[(start + e) * step_c]
        if not weight > 0.0:
            return np.nan
        root = real(np.sqrt(weight))
        y = Y[indices[start + e]]
        z = Z[e]
        norm = real(0.0)
        for f in range(k):
            value = root * (h[f] * y[f])
            z[f] = value
            norm += value * value
        trace += norm
        U[e, dp] = real(b[(start + e) * step_b]) / root
    for e in range(d, dp):
        for f in range(k):
            Z[e, f] = 0.0
    transpose(Z, dp, padded(k), T)
    add_products(T, k, dp, U)
    if not cholesky(U, inverse, dp, dp + TILE, 0.0):
        return np.nan
    for e in range(dp):
        x[e] = U[e, dp]
    solve_upper(U, inverse, dp, x)
    for f in range(k):
        w[f] = 0.0
    _add_combination(Z, x, d, k, w)
    return trace


@jit
def _refine_dual(d, Z, U, inverse, x, w):
    """Replace w by (I + Z'Z)^-1 w = w - Z' (I + Z Z')^-1 Z w."""
    dp = padded(d)
    for e in range(dp):
        total = Z.dtype.type(0.0)
        if e < d:
            for f in range(Z.shape[1]):
                total += Z[e, f] * w[f]
        x[e] = -total
    solve_transposed(U, inverse, dp, x)
    solve_upper(U, inverse, dp, x)
    _add_combination(Z, x, d, Z.shape[1], w)


@jit
def _solve_primal(start, stop, indices, c, step_c, b, step_b, h, Y, Z, U, inverse, w):
    """Set w = p^ with (I + Z'CZ) p^ = Z' b; Z is gathered in panels.

    U becomes the Cholesky factor. Returns the trace of Z'CZ, nan if that cannot be done.
    """
    k = Y.shape[1]
    kp = padded(k)
    _set_identity(U, kp)
    for f in range(k):
        w[f] = 0.0
    for low in range(start, stop, _PANEL):
        high = min(low + _PANEL, stop)
        if not gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, w):
            return np.nan
        add_products(Z, high - low, kp, U)
    trace = 0.0
    for f in range(k):
        trace += U[f, f] - 1.0
        U[f, kp] = w[f]
    if not cholesky(U, inverse, kp, kp + TILE, 0.0):
        return np.nan
    for f in range(kp):
        w[f] = U[f, kp]
    solve_upper(U, inverse, kp, w)
    return trace


@jit
def _add_combination(Z, x, d, k, out):
    """Add Z' x to out, for the first d rows and k columns of Z."""
    for e in range(d):
        for f in range(k):
            out[f] += x[e] * Z[e, f]


@jit
def _residual(start, stop, indices, c, step_c, b, step_b, spectrum, mu, V, Q, p, residual):
    """V' sum_k (b_k - c_k q_k.(V p)) q_k - (S + mu) p, in float64 from the unrotated Q."""
    k = p.size
    rotated = V.shape[0] > 0
    x = p
    total = residual
    if rotated:
        x = np.zeros(k)
        total = np.zeros(k)
        for f in range(k):
            for g in range(k):
                x[f] += V[f, g] * p[g]
    for f in range(k):
        total[f] = 0.0
    whole = start + (stop - start) // 4 * 4
    for e in range(start, whole, 4):  # four at once: one sum has to wait for itself
        q0, q1 = Q[indices[e]], Q[indices[e + 1]]
        q2, q3 = Q[indices[e + 2]], Q[indices[e + 3]]
        s0 = s1 = s2 = s3 = 0.0
        for f in range(k):
            value = x[f]
            s0 += np.float64(q0[f]) * value
            s1 += np.float64(q1[f]) * value
            s2 += np.float64(q2[f]) * value
            s3 += np.float64(q3[f]) * value
        s0 = b[e * step_b] - c[e * step_c] * s0
        s1 = b[(e + 1) * step_b] - c[(e + 1) * step_c] * s1
        s2 = b[(e + 2) * step_b] - c[(e + 2) * step_c] * s2
        s3 = b[(e + 3) * step_b] - c[(e + 3) * step_c] * s3
        for f in range(k):
            total[f] += (
                s0 * np.float64(q0[f]) + s1 * np.float64(q1[f])
                + s2 * np.float64(q2[f]) + s3 * np.float64(q3[f])
            )  # fmt: skip
    for e in range(whole, stop):
        q = Q[indices[e]]
        dot = 0.0
        for f in range(k):
            dot += np.float64(q[f]) * x[f]
        left = b[e * step_b] - c[e * step_c] * dot
        for f in range(k):
            total[f] += left * np.float64(q[f])
    if rotated:
        for f in range(k):
            residual[f] = 0.0
        for g in range(k):
            for f in range(k):
                residual[f] += V[g, f] * total[g]
    for f in range(k):
        residual[f] -= (spectrum[f] + mu) * p[f]
