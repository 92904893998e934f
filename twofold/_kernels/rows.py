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

# Measured: the relative error of a row is about this much of (rounding unit) x (trace of Z'CZ),
# and, as V' q was rounded, of (rounding unit) x (trace of Q'CQ) x (largest h)^2.
_DUAL_ERROR, _PRIMAL_ERROR, _ROTATION_ERROR = 0.005, 2.5, 0.02
_ENOUGH = 1e-6  # relative error from which a row is refined, and change at which that stops
_MAX_REFINEMENTS = 5


@parallel_jit
def solve_rows(bounds, indptr, indices, c, b, spectrum, V, ridge, Y, Q, out, status):
    """Solve each row in whitened coordinates; ``out`` and ``Y`` = Q V are both rotated by V.

    Rows whose rounding error could show are refined with residuals in float64 (Wilkinson; Golub &
    Van Loan, section 3.5.3), so that the factorisation itself can stay in float32. A row that
    whitening does not suit (c <= 0, or too ill-conditioned for its dtype) is marked UNSUITABLE.
    V has no rows if nothing was rotated.
    """
    k = Y.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for task in prange(bounds.size - 1):
        Z = np.empty((k, max(k, _PANEL)), Y.dtype)
        M = np.empty((k, k), Y.dtype)
        x = np.empty(k, Y.dtype)
        w = np.empty(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        exact = np.empty(k)
        residual = np.empty(k)
        mu = ridge[0]
        _whitening(spectrum, mu, h)
        for u in range(bounds[task], bounds[task + 1]):
            start, stop = indptr[u], indptr[u + 1]
            if start == stop or status[u] == UNSUITABLE:
                out[u] = real(0.0)
                continue
            if step_r:
                mu = ridge[u]
                _whitening(spectrum, mu, h)
            dual = stop - start <= k
            if dual:
                trace, plain = _factorise_dual(
                    start, stop, indices, c, step_c, b, step_b, h, Y, Z, M, x
                )
            else:
                trace, plain = _factorise_primal(
                    start, stop, indices, c, step_c, b, step_b, h, Y, Z, M, x
                )
            if not unit * trace < 0.5:  # also nan: it could not be factorised
                status[u] = UNSUITABLE
                continue
            if dual:
                _combine(Z, x, stop - start, w)
            else:
                for f in range(k):
                    w[f] = x[f]
            error = unit * trace * (_DUAL_ERROR if dual else _PRIMAL_ERROR)
            if V.shape[0]:
                error = max(error, unit * plain * np.float64(h.max()) ** 2 * _ROTATION_ERROR)
            for f in range(k):
                out[u, f] = h[f] * w[f]
            if error < _ENOUGH:
                continue
            for f in range(k):
                exact[f] = np.float64(out[u, f])
            status[u] = UNSUITABLE  # unless it settles
            for _ in range(_MAX_REFINEMENTS):
                _residual(
                    start, stop, indices, c, step_c, b, step_b, spectrum, mu, V, Q, exact, residual
                )
                for f in range(k):
                    w[f] = h[f] * real(residual[f])
                if dual:  # (I + Z'Z)^-1 w = w - Z' (I + Z Z')^-1 Z w
                    for e in range(stop - start):
                        total = real(0.0)
                        for f in range(k):
                            total += Z[e, f] * w[f]
                        x[e] = -total
                    solve_cholesky(M, stop - start, x)
                    _add_combination(Z, x, stop - start, w)
                else:
                    solve_cholesky(M, k, w)
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


@jit
def _whitening(spectrum, mu, h):
    for f in range(h.size):
        h[f] = 1.0 / np.sqrt(spectrum[f] + mu)


@jit
def _factorise_dual(start, stop, indices, c, step_c, b, step_b, h, Y, Z, M, x):
    """Make Z_c, the Cholesky factor of I + Z_c Z_c' and x = its solution for b / sqrt(c).

    Returns the traces of Z_c Z_c' and of Q' C Q, nan if that cannot be done.
    """
    k = Y.shape[1]
    d = stop - start
    real = Y.dtype.type
    trace = plain = 0.0
    for e in range(d):
        weight = c[(start + e) * step_c]
        if not weight > 0.0:
            return np.nan, np.nan
        root = real(np.sqrt(weight))
        y = Y[indices[start + e]]
        z = Z[e]
        norm = length = real(0.0)
        for f in range(k):
            value = h[f] * y[f]
            z[f] = root * value
            norm += value * value
            length += y[f] * y[f]
        trace += weight * norm
        plain += weight * length
        x[e] = real(b[(start + e) * step_b]) / root
    for i in range(d):
        for j in range(i):
            M[i, j] = real(0.0)
        M[i, i] = real(1.0)
    add_outer(Z, d, k, M)
    if not cholesky(M, d, 0.0):
        return np.nan, np.nan
    solve_cholesky(M, d, x)
    return trace, plain


@jit
def _factorise_primal(start, stop, indices, c, step_c, b, step_b, h, Y, Z, M, x):
    """Make the Cholesky factor of I + Z' C Z and x = p^; Z is gathered transposed, in panels.

    Returns the traces of Z' C Z and of Q' C Q, nan if that cannot be done.
    """
    k = Y.shape[1]
    real = Y.dtype.type
    plain = 0.0
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
                return np.nan, np.nan
            root = real(np.sqrt(weight))
            target = real(b[(low + e) * step_b])
            y = Y[indices[low + e]]
            length = real(0.0)
            for f in range(k):
                value = h[f] * y[f]
                Z[f, e] = root * value
                x[f] += target * value
                length += y[f] * y[f]
            plain += weight * length
        add_outer(Z, k, m, M)
    trace = 0.0
    for f in range(k):
        trace += M[f, f] - 1.0
    if not cholesky(M, k, 0.0):
        return np.nan, np.nan
    solve_cholesky(M, k, x)
    return trace, plain


@jit
def _combine(Z, x, d, out):
    """Set out = Z' x."""
    for f in range(out.size):
        out[f] = 0.0
    _add_combination(Z, x, d, out)


@jit
def _add_combination(Z, x, d, out):
    """Add Z' x to out."""
    for e in range(d):
        for f in range(out.size):
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
    for e in range(start, stop):
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
