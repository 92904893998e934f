"""The exact row solve: ALS half-step and fold-in.

For one row with columns k, weights c_k, linear terms b_k, ridge mu and all-cells Gramian G:

    p = (G + mu I + sum_k c_k q_k q_k')^-1  sum_k b_k q_k

In whitened coordinates, with G = V S V', h = (S + mu)^-1/2 and z_k = h * (V' q_k), it is

    p = V (h * p^),    p^ = (I + Z' C Z)^-1 Z' b                    primal, k x k
                          = Z_c' (I + Z_c Z_c')^-1 (b / sqrt(c))    dual, d x d, Z_c = sqrt(C) Z

which is better conditioned and lets the cheaper of the two be taken for every row. Whitened arrays
have columns of zeros up to a multiple of 8, for which S is 1, so that no kernel meets a remainder.
"""

import numpy as np
from numba import prange

from twofold._kernels.dense import (
    add_products_row,
    cholesky,
    room,
    set_products_row,
    solve_transposed,
    solve_upper,
)
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.simd import TILE, gather_transposed, next_task, prefetch_at, prefetch_row

__all__ = [
    "DUAL_ERROR",
    "ENOUGH",
    "UNSUITABLE",
    "fetch",
    "following",
    "gather",
    "solve_rows",
    "whitening",
]

SOLVED, UNSUITABLE = 0, 1
_PANEL = 64  # entries gathered at a time: they stay in the first cache, whatever the row's length

# Measured: the relative error of a row is at most 4e-7 + this much of (rounding unit) x (trace of
# Z'CZ), in float32.
DUAL_ERROR, _PRIMAL_ERROR = 0.1, 0.5
ENOUGH = 2e-6  # relative error from which a row is refined, and change at which that stops
_MAX_REFINEMENTS = 5


@parallel_jit
def solve_rows(
    n_workers, counter, rows, bounds, indptr, indices, c, b, spectrum, ridge, Y, V, Q, out, status
):
    """Solve the listed rows in whitened coordinates; ``out`` and ``Y`` = Q V are rotated by V.

    Rows whose rounding error could show are refined with residuals in float64 (Wilkinson; Golub &
    Van Loan, section 3.5.3), so that the factorisation itself can stay in float32. A row that
    whitening does not suit (c < 0, or too ill-conditioned for its dtype) is marked UNSUITABLE.
    Q and V are as wide as k, the others padded; V has no rows if nothing was rotated. The tasks are
    the ranges of ``rows`` between ``bounds``; ``counter`` (zero) hands them out, in order, to
    whichever worker is free.
    """
    k = Y.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for _worker in prange(n_workers):
        Z = np.zeros((max(k, _PANEL), room(k)), Y.dtype)
        U = np.zeros((k, room(k)), Y.dtype)
        inverse = np.empty(k, Y.dtype)
        ids = np.empty(k, indices.dtype)
        root = np.empty(k, Y.dtype)
        x = np.zeros(k, Y.dtype)
        w = np.zeros(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        exact = np.zeros(k)
        residual = np.zeros(k)
        mu = ridge[0]
        whitening(spectrum, mu, h)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                start, stop = indptr[u], indptr[u + 1]
                next_low, next_high = following(rows, place, bounds[task + 1], indptr, indices)
                if step_r:
                    mu = ridge[u]
                    whitening(spectrum, mu, h)
                trace = np.nan
                dual = stop - start <= k
                if dual:
                    trace = _solve_dual(
                        start, stop, next_low, next_high, indices, c, step_c, b, step_b, h, Y, ids,
                        root, Z, U, inverse, x, w,
                    )  # fmt: skip
                    dual = not np.isnan(trace)
                if not dual:
                    trace = _solve_primal(
                        start, stop, next_low, next_high, indices, c, step_c, b, step_b, h, Y, Z, U,
                        inverse, exact, w,
                    )  # fmt: skip
                error = unit * trace * (DUAL_ERROR if dual else _PRIMAL_ERROR)
                # Also nan: it could not be factorised. Residuals in float64 do not refine float64.
                if not (unit * trace < 0.5 and (error < ENOUGH or unit > 1e-10)):
                    status[u] = UNSUITABLE
                    continue
                for f in range(k):
                    out[u, f] = h[f] * w[f]
                if error < ENOUGH:
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
                        _refine_dual(stop - start, h, Y, ids, root, U, inverse, x, w)
                    else:
                        solve_transposed(U, inverse, k, w)
                        solve_upper(U, inverse, k, w)
                    change = length = 0.0
                    for f in range(k):
                        move = np.float64(h[f] * w[f])
                        exact[f] += move
                        change += move * move
                        length += exact[f] * exact[f]
                    if change <= ENOUGH * ENOUGH * length:
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
def following(rows, place, end, indptr, indices):
    """Return where the entries of the next row begin and end, and ask for the ids of the one after.

    Random rows of Y are far away: those of the next row or panel are asked for while this one is
    computed, a few for each row of tiles.
    """
    if place + 2 < end:
        prefetch_at(indices, indptr[rows[place + 2]])
    if place + 1 < end:
        return indptr[rows[place + 1]], indptr[rows[place + 1] + 1]
    return 0, 0


@jit
def fetch(Y, indices, low, high):
    for e in range(low, high):
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
def _solve_dual(
    start, stop, next_low, next_high, indices, c, step_c, b, step_b, h, Y, ids, root, T, U, inverse,
    x, w,
):  # fmt: skip
    """Set w = p^ = Z_c' x with (I + Z_c Z_c') x = b / sqrt(c).

    T becomes Z_c', U the Cholesky factor. Returns the trace of Z_c Z_c', nan if that cannot be
    done.
    """
    d = stop - start
    dp = (d + TILE - 1) // TILE * TILE
    real = Y.dtype.type
    for e in range(d):
        weight = c[(start + e) * step_c]
        if not weight > 0.0:
            return np.nan
        ids[e] = indices[start + e]
        root[e] = real(np.sqrt(weight))
        x[e] = real(b[(start + e) * step_b]) / root[e]
    for e in range(d, dp):
        ids[e] = ids[0]
        root[e] = x[e] = 0.0
    for e in range(0, dp, TILE):
        gather_transposed(Y, ids, e, h, root, T)
    share = -(-(next_high - next_low) * TILE // dp)
    for i in range(0, dp, TILE):
        fetch(Y, indices, next_low, min(next_low + share, next_high))
        next_low += share
        set_products_row(T, Y.shape[1], dp, i, U)
    trace = _add_identity(U, dp, x)
    if not cholesky(U, inverse, dp, dp + TILE, 0.0):
        return np.nan
    for e in range(dp):
        x[e] = U[e, dp]
    solve_upper(U, inverse, dp, x)
    for f in range(w.size):
        w[f] = 0.0
    _add_combination(Y, ids, root, x, d, w)
    for f in range(w.size):
        w[f] *= h[f]
    return trace


@jit
def _add_identity(U, n, rhs):
    """Add I to U[:n, :n] and put rhs into the tile to the right; returns the trace before."""
    trace = 0.0
    for i in range(n):
        trace += U[i, i]
        U[i, i] += 1.0
        U[i, n] = rhs[i]
        for j in range(n + 1, n + TILE):
            U[i, j] = 0.0
    return trace


@jit
def _refine_dual(d, h, Y, ids, root, U, inverse, x, w):
    """Replace w by (I + Z'CZ)^-1 w = w - Z_c' (I + Z_c Z_c')^-1 Z_c w."""
    dp = (d + TILE - 1) // TILE * TILE
    moved = np.zeros_like(w)
    for f in range(w.size):
        moved[f] = h[f] * w[f]
    for e in range(dp):
        total = Y.dtype.type(0.0)
        y = Y[ids[e]]
        for f in range(w.size):
            total += y[f] * moved[f]
        x[e] = -root[e] * total
    solve_transposed(U, inverse, dp, x)
    solve_upper(U, inverse, dp, x)
    for f in range(w.size):
        moved[f] = 0.0
    _add_combination(Y, ids, root, x, d, moved)
    for f in range(w.size):
        w[f] += h[f] * moved[f]


@jit
def _solve_primal(
    start, stop, next_low, next_high, indices, c, step_c, b, step_b, h, Y, Z, U, inverse, rhs, w
):
    """Set w = p^ with (I + Z'CZ) p^ = Z' b; Z is gathered in panels.

    ``rhs`` becomes Z' b, in float64, which thousands of entries of one sign need; U becomes the
    Cholesky factor. Returns the trace of Z'CZ, nan if that cannot be done.
    """
    k = Y.shape[1]
    for f in range(k):
        rhs[f] = 0.0
    for low in range(start, stop, _PANEL):
        high = min(low + _PANEL, stop)
        for f in range(k):
            w[f] = 0.0
        if not gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, w):
            return np.nan
        for f in range(k):
            rhs[f] += w[f]
        if high < stop:
            coming, end = high, min(high + _PANEL, stop)
        else:
            coming, end = next_low, min(next_low + _PANEL, next_high)
        share = -(-(end - coming) * TILE // k)
        for i in range(0, k, TILE):
            fetch(Y, indices, coming, min(coming + share, end))
            coming += share
            if low == start:
                set_products_row(Z, high - low, k, i, U)
            else:
                add_products_row(Z, high - low, k, i, U)
    for f in range(k):
        w[f] = rhs[f]
    trace = _add_identity(U, k, w)
    if not cholesky(U, inverse, k, k + TILE, 0.0):
        return np.nan
    for f in range(k):
        w[f] = U[f, k]
    solve_upper(U, inverse, k, w)
    return trace


@jit
def _add_combination(Y, ids, root, x, d, out):
    """Add sum_e x[e] root[e] Y[ids[e]] to out, for e < d; four at a time."""
    whole = d // 4 * 4
    for e in range(0, whole, 4):
        y0, y1, y2, y3 = Y[ids[e]], Y[ids[e + 1]], Y[ids[e + 2]], Y[ids[e + 3]]
        x0, x1 = x[e] * root[e], x[e + 1] * root[e + 1]
        x2, x3 = x[e + 2] * root[e + 2], x[e + 3] * root[e + 3]
        for f in range(out.size):
            out[f] += x0 * y0[f] + x1 * y1[f] + x2 * y2[f] + x3 * y3[f]
    for e in range(whole, d):
        y, value = Y[ids[e]], x[e] * root[e]
        for f in range(out.size):
            out[f] += value * y[f]


@jit
def _residual(start, stop, indices, c, step_c, b, step_b, spectrum, mu, V, Q, p, residual):
    """V' sum_k (b_k - c_k q_k.(V p)) q_k - (S + mu) p, in float64 from the unrotated Q."""
    k = Q.shape[1]
    rotated = V.shape[0] > 0
    x = p
    total = residual
    if rotated:
        x = np.zeros(k)
        total = np.zeros(k)
        for f in range(0, k - 3, 4):  # four at once: one sum has to wait for itself
            v0, v1, v2, v3 = V[f], V[f + 1], V[f + 2], V[f + 3]
            s0 = s1 = s2 = s3 = 0.0
            for g in range(k):
                s0 += v0[g] * p[g]
                s1 += v1[g] * p[g]
                s2 += v2[g] * p[g]
                s3 += v3[g] * p[g]
            x[f], x[f + 1], x[f + 2], x[f + 3] = s0, s1, s2, s3
        for f in range(k // 4 * 4, k):
            for g in range(k):
                x[f] += V[f, g] * p[g]
    for f in range(k):
        total[f] = 0.0
    whole = start + (stop - start) // 4 * 4
    for e in range(start, whole, 4):
        fetch(Q, indices, min(e + 16, stop), min(e + 20, stop))
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
        for g in range(0, k - 3, 4):
            v0, v1, v2, v3 = V[g], V[g + 1], V[g + 2], V[g + 3]
            t0, t1, t2, t3 = total[g], total[g + 1], total[g + 2], total[g + 3]
            for f in range(k):
                residual[f] += t0 * v0[f] + t1 * v1[f] + t2 * v2[f] + t3 * v3[f]
        for g in range(k // 4 * 4, k):
            for f in range(k):
                residual[f] += V[g, f] * total[g]
    for f in range(k):
        residual[f] -= (spectrum[f] + mu) * p[f]
