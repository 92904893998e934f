"""Row solves without whitening in float64, for rows where `direct` is not accurate enough.

Without negative curvature, a row is the least-squares solution of sqrt(c_k) q_k . p = b_k /
sqrt(c_k), R_G p = 0 and sqrt(mu) p = 0, with a0 Q'Q = R_G' R_G. Its orthogonal factorisation has
the square root of the condition number of the normal equations. With negative curvature, the
normal equations are solved.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.dense import cholesky, padded, solve_transposed, solve_upper
from twofold._kernels.jit import device, kernel
from twofold._kernels.normal import PANEL, set_normal_equations
from twofold._kernels.rows import NORMAL, ORTHOGONAL, OVERFLOW, SINGULAR, SOLVED
from twofold._kernels.vectors.tasks import next_task

_EPS = 2.220446049250313e-16
_TINY = 1e-290  # smaller elements count as 0: their reciprocals could overflow


class Scratch(NamedTuple):
    """Working memory of one thread."""

    p: Any
    R: Any
    """The triangle, with the right-hand side as its last column."""
    norms: Any
    """Squared lengths of the columns of the system."""
    row: Any
    U: Any
    """The matrix of the normal equations, overwritten by its Cholesky factor."""
    negative: Any
    x: Any
    inverse: Any
    Z: Any


@kernel
def solve_orthogonal(counter, n_tasks, rows, entries, Q, triangle, G, out, report):
    """Set ``out`` to the unrotated solutions of the listed rows; a task is one row.

    ``triangle`` is R_G. Without a ridge, the status is SINGULAR if a pivot is within rounding error
    of zero.
    """
    k = G.shape[0]
    kp = padded(k)
    s = Scratch(
        np.zeros(k), np.zeros((k, k + 1)), np.zeros(k), np.zeros(k + 1), np.zeros((kp, kp)),
        np.zeros((kp, kp)), np.zeros(kp), np.zeros(kp), np.zeros((PANEL, kp)),
    )  # fmt: skip
    task = next_task(counter)
    while task < n_tasks:
        u = rows[task]
        convex = True
        for e in range(entries.indptr[u], entries.indptr[u + 1]):
            c = curvature(entries, e)
            convex &= c > 0.0 or (c == 0.0 and linear(entries, e) == 0.0)
        if convex:
            error = _solve_by_rotations(u, entries, Q, triangle, s)
        else:
            error = _solve_by_normal_equations(u, entries, Q, G, s)
        size = 0.0
        for f in range(k):
            out[u, f] = s.p[f]
            size += np.float64(out[u, f]) * np.float64(out[u, f])
        report.route[u] = ORTHOGONAL if convex else NORMAL
        report.error[u] = error
        report.status[u] = SOLVED if size < np.inf else OVERFLOW
        if np.isnan(error):
            report.status[u] = SINGULAR
        task = next_task(counter)


@device
def _solve_by_rotations(u, entries, Q, triangle, s):
    """Compute p by Givens rotations, row by row (Golub & Van Loan, section 5.2.5).

    Returns an estimate of the relative error, or nan if the row is singular.
    """
    k = triangle.shape[0]
    R, norms, row, p = s.R, s.norms, s.row, s.p
    for f in range(k):
        R[f, k] = norms[f] = 0.0
    for f in range(k):
        for g in range(k):
            R[f, g] = triangle[f, g]
            norms[g] += triangle[f, g] * triangle[f, g]
    for f in range(k):
        for g in range(k + 1):
            row[g] = 0.0
        row[f] = np.sqrt(entries.scale[u])
        norms[f] += entries.scale[u]
        _rotate_row(R, row, f)
    for e in range(entries.indptr[u], entries.indptr[u + 1]):
        c = curvature(entries, e)
        if c > 0.0:
            root = np.sqrt(c)
            for f in range(k):
                row[f] = root * np.float64(Q[entries.indices[e], f])
                norms[f] += row[f] * row[f]
            row[k] = linear(entries, e) / root
            _rotate_row(R, row, 0)
    smallest_ratio = 1.0
    for f in range(k - 1, -1, -1):
        smallest = 4.0 * k * _EPS * np.sqrt(norms[f]) if entries.scale[u] == 0.0 else 0.0
        if not abs(R[f, f]) > smallest:
            return np.nan
        smallest_ratio = min(smallest_ratio, abs(R[f, f]) / np.sqrt(norms[f]))
        total = R[f, k]
        for g in range(f + 1, k):
            total -= R[f, g] * p[g]
        p[f] = total / R[f, f]
    return k * _EPS / smallest_ratio


@device
def _rotate_row(R, row, first):
    """Rotate a row whose elements before ``first`` are 0 into the triangle; overwrites the row."""
    k = R.shape[0]
    for f in range(first, k):
        if abs(row[f]) > _TINY:
            length = np.hypot(R[f, f], row[f])
            cosine, sine = R[f, f] / length, row[f] / length
            for g in range(f, k + 1):
                upper, lower = R[f, g], row[g]
                R[f, g] = cosine * upper + sine * lower
                row[g] = cosine * lower - sine * upper


@device
def _solve_by_normal_equations(u, entries, Q, G, s):
    """Compute p by Cholesky; return an error estimate, or nan if the row is singular."""
    U, x, p = s.U, s.x, s.p
    k, kp = p.size, x.size
    largest = set_normal_equations(u, entries, Q, G, s.Z, s.negative, U, x)
    for f in range(k, kp):
        U[f, f] = largest
    inverse = s.inverse
    smallest = (4.0 * k if entries.scale[u] == 0.0 else 1.0) * _EPS * largest
    if not cholesky(U, inverse, kp, kp, smallest):
        return np.nan
    solve_transposed(U, inverse, kp, x)
    solve_upper(U, inverse, kp, x)
    steepest = 0.0
    for f in range(k):
        p[f] = x[f]
        steepest = max(steepest, inverse[f])
    return k * _EPS * largest * steepest * steepest
