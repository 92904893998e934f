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

from twofold._kernels.dense import add_outer, cholesky, solve_cholesky
from twofold._kernels.jit import jit, parallel_jit

__all__ = ["SINGULAR", "UNSUITABLE", "solve_rows", "solve_rows_plainly"]

SOLVED, UNSUITABLE, SINGULAR = 0, 1, 2
_PANEL = 256  # entries gathered at a time: a row of any length needs k x 256 numbers


@parallel_jit
def solve_rows(bounds, indptr, indices, c, b, spectrum, ridge, limit, Y, out, status):
    """Solve each row in whitened coordinates; ``out`` and ``Y`` are both rotated by V.

    A row that whitening does not suit (c <= 0, or a matrix beyond ``limit`` that rounding would
    spoil) is left out and marked UNSUITABLE in ``status``.
    """
    k = Y.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    for task in prange(bounds.size - 1):
        Z = np.empty((k, max(k, _PANEL)), Y.dtype)
        M = np.empty((k, k), Y.dtype)
        x = np.empty(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        shared = ridge.size == 1
        if shared:
            _whitening(spectrum, ridge[0], h)
        for u in range(bounds[task], bounds[task + 1]):
            start, stop = indptr[u], indptr[u + 1]
            if start == stop:
                out[u] = real(0.0)
                continue
            if not shared:
                _whitening(spectrum, ridge[u * step_r], h)
            if stop - start <= k:
                good = _dual(
                    start, stop, indices, c, step_c, b, step_b, h, limit, Y, Z, M, x, out[u]
                )
            else:
                good = _primal(
                    start, stop, indices, c, step_c, b, step_b, h, limit, Y, Z, M, x, out[u]
                )
            if not good:
                status[u] = UNSUITABLE


@jit
def _whitening(spectrum, ridge, h):
    for f in range(h.size):
        h[f] = 1.0 / np.sqrt(spectrum[f] + ridge)


@jit
def _dual(start, stop, indices, c, step_c, b, step_b, h, limit, Y, Z, M, x, out):
    """p^ = Z_c' (I + Z_c Z_c')^-1 (b / sqrt(c)), out = h * p^."""
    k = Y.shape[1]
    d = stop - start
    real = Y.dtype.type
    trace = 0.0
    for e in range(d):
        weight = c[(start + e) * step_c]
        if not weight > 0.0:
            return False
        root = real(np.sqrt(weight))
        y = Y[indices[start + e]]
        z = Z[e]
        norm = real(0.0)
        for f in range(k):
            value = root * h[f] * y[f]
            z[f] = value
            norm += value * value
        trace += norm
        x[e] = real(b[(start + e) * step_b]) / root
    if not trace < limit:
        return False
    for i in range(d):
        for j in range(i):
            M[i, j] = real(0.0)
        M[i, i] = real(1.0)
    add_outer(Z, d, k, M)
    if not cholesky(M, d, 0.0):
        return False
    solve_cholesky(M, d, x)
    for f in range(k):
        out[f] = real(0.0)
    for e in range(d):
        z = Z[e]
        for f in range(k):
            out[f] += x[e] * z[f]
    for f in range(k):
        out[f] *= h[f]
    return True


@jit
def _primal(start, stop, indices, c, step_c, b, step_b, h, limit, Y, Z, M, x, out):
    """p^ = (I + Z' C Z)^-1 Z' b, out = h * p^; Z is gathered transposed, a panel at a time."""
    k = Y.shape[1]
    real = Y.dtype.type
    for i in range(k):
        x[i] = real(0.0)
        for j in range(i):
            M[i, j] = real(0.0)
        M[i, i] = real(1.0)
    for low in range(start, stop, _PANEL):
        m = min(_PANEL, stop - low)
        for e in range(m):
            weight = c[(low + e) * step_c]
            if not weight > 0.0:
                return False
            root = real(np.sqrt(weight))
            target = real(b[(low + e) * step_b])
            y = Y[indices[low + e]]
            for f in range(k):
                value = h[f] * y[f]
                Z[f, e] = root * value
                x[f] += target * value
        add_outer(Z, k, m, M)
    trace = 0.0
    for f in range(k):
        trace += M[f, f]
    if not trace < limit or not cholesky(M, k, 0.0):
        return False
    solve_cholesky(M, k, x)
    for f in range(k):
        out[f] = h[f] * x[f]
    return True


@parallel_jit
def solve_rows_plainly(rows, indptr, indices, c, b, G, ridge, Q, out, status):
    """Solve the listed rows in float64 without whitening, into ``out`` (one row for each).

    For the few rows that `solve_rows` leaves out. A pivot that rounding could have made is not
    trusted: the row is SINGULAR.
    """
    k = Q.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    for place in prange(rows.size):
        u = rows[place]
        M = G.copy()
        x = np.zeros(k)
        Z = np.empty((k, _PANEL))
        for f in range(k):
            M[f, f] += ridge[u * step_r]
        for sign in (1.0, -1.0):  # negative weights (w < a0) are subtracted as a second pass
            m = 0
            for e in range(indptr[u], indptr[u + 1]):
                weight = sign * c[e * step_c]
                root = np.sqrt(max(weight, 0.0))
                target = b[e * step_b]
                for f in range(k):
                    value = np.float64(Q[indices[e], f])
                    Z[f, m] = root * value
                    if sign > 0.0:
                        x[f] += target * value
                if weight > 0.0:
                    m += 1
                if m == _PANEL:
                    _flush(Z, k, m, sign, M)
                    m = 0
            _flush(Z, k, m, sign, M)
        largest = 0.0
        for f in range(k):
            largest = max(largest, M[f, f])
        if cholesky(M, k, 4.0 * k * 2.220446049250313e-16 * largest):
            solve_cholesky(M, k, x)
            out[place] = x
        else:
            status[place] = SINGULAR


@jit
def _flush(Z, k, m, sign, M):
    if sign > 0.0:
        add_outer(Z, k, m, M)
    else:
        negative = np.zeros((k, k))
        add_outer(Z, k, m, negative)
        M -= negative
