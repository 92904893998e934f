"""Row solves without whitening, in float64: the few rows that `rows` leaves out.

By an orthogonal factorisation, or with negative curvature by the normal equations.
"""

import numpy as np
from numba import prange

from twofold._kernels.dense import add_products, cholesky, padded, solve_transposed, solve_upper
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.simd import TILE

__all__ = ["SINGULAR", "solve_rows_plainly"]

SINGULAR = 2
_PANEL = 128  # entries gathered at a time
_EPS = 2.220446049250313e-16


@parallel_jit
def solve_rows_plainly(rows, indptr, indices, c, b, root_G, G, ridge, Q, out, status):
    """Solve the listed rows in float64 without whitening, into ``out`` (one row for each).

    For the few rows that `solve_rows` leaves out. Without negative curvature it is the least
    squares problem of sqrt(c_k) q_k . p = b_k / sqrt(c_k), root_G p = 0 and sqrt(mu) p = 0, whose
    orthogonal factorisation keeps twice the digits of the normal equations. A pivot that rounding
    could have made is not trusted: the row is SINGULAR.
    """
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    for place in prange(rows.size):
        u = rows[place]
        start, stop, mu = indptr[u], indptr[u + 1], ridge[u * step_r]
        convex = True
        for e in range(start, stop):
            weight = c[e * step_c]
            convex &= weight > 0.0 or (weight == 0.0 and b[e * step_b] == 0.0)
        if convex:
            solved = _solve_orthogonally(
                start, stop, indices, c, step_c, b, step_b, root_G, mu, Q, out[place]
            )
        else:
            solved = _solve_normally(
                start, stop, indices, c, step_c, b, step_b, G, mu, Q, out[place]
            )
        if not solved:
            status[place] = SINGULAR


@jit
def _solve_orthogonally(start, stop, indices, c, step_c, b, step_b, root_G, mu, Q, out):
    """By the triangle R of QR, panel by panel (Golub & Van Loan, section 5.3); False if singular.

    The right-hand side is the last column of the panels.
    """
    k = Q.shape[1]
    system = np.zeros((2 * k + 1 + _PANEL, k + 1))
    system[:k, :k] = root_G
    for f in range(k):
        system[k + f, f] = np.sqrt(mu)
    top = m = 2 * k
    for e in range(start, stop + 1):
        if e < stop and c[e * step_c] > 0.0:
            root = np.sqrt(c[e * step_c])
            for f in range(k):
                system[m, f] = root * np.float64(Q[indices[e], f])
            system[m, k] = b[e * step_b] / root
            m += 1
        if m == top + _PANEL or e == stop:
            system[m:] = 0.0
            _, triangle = np.linalg.qr(system)
            system[: k + 1] = triangle
            system[k + 1 :] = 0.0
            top = m = k + 1
    largest = 0.0
    for f in range(k):
        largest = max(largest, abs(system[f, f]))
    for f in range(k - 1, -1, -1):
        if not abs(system[f, f]) > 4.0 * k * _EPS * largest:
            return False
        total = system[f, k]
        for g in range(f + 1, k):
            total -= system[f, g] * out[g]
        out[f] = total / system[f, f]
    return True


@jit
def _solve_normally(start, stop, indices, c, step_c, b, step_b, G, mu, Q, out):
    """By the normal equations, which may have negative weights (w < a0); False if singular."""
    k = Q.shape[1]
    kp = padded(k)
    U = np.zeros((kp, kp + TILE))
    U[:k, :k] = G
    x = np.zeros(kp)
    Z = np.zeros((_PANEL, kp))
    largest = 0.0
    for f in range(k):
        U[f, f] += mu
    for sign in (1.0, -1.0):  # negative weights are subtracted as a second pass
        m = 0
        for e in range(start, stop):
            weight = sign * c[e * step_c]
            root = np.sqrt(max(weight, 0.0))
            target = b[e * step_b]
            for f in range(k):
                value = np.float64(Q[indices[e], f])
                Z[m, f] = root * value
                if sign > 0.0:
                    x[f] += target * value
            if weight > 0.0:
                m += 1
            if m == _PANEL:
                _flush(Z, m, kp, sign, U)
                m = 0
        _flush(Z, m, kp, sign, U)
        if sign > 0.0:  # before anything is subtracted: rounding errors are of this size
            for f in range(k):
                largest = max(largest, U[f, f])
    for f in range(k, kp):
        U[f, f] = largest
    inverse = np.empty(kp)
    if not cholesky(U, inverse, kp, kp, 4.0 * k * _EPS * largest):
        return False
    solve_transposed(U, inverse, kp, x)
    solve_upper(U, inverse, kp, x)
    for f in range(k):
        out[f] = x[f]
    return True


@jit
def _flush(Z, m, kp, sign, U):
    if sign > 0.0:
        add_products(Z, m, kp, U)
    else:
        negative = np.zeros((kp, kp))
        add_products(Z, m, kp, negative)
        U[:, :kp] -= negative
