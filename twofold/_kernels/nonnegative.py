"""Nonnegative row solves in float64: coordinate descent, then an active-set method."""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.dense import cholesky, padded, solve_transposed, solve_upper
from twofold._kernels.jit import device, kernel
from twofold._kernels.normal import PANEL, set_normal_equations
from twofold._kernels.rows import NONNEGATIVE, NOT_CONVERGED, OVERFLOW, SOLVED
from twofold._kernels.vectors.tasks import next_task

_SWEEPS = 30
_KKT_TOLERANCE = 1e-10  # slope relative to the largest |b|


class Scratch(NamedTuple):
    """Working memory of one thread."""

    Z: Any
    A: Any
    """The matrix of the normal equations."""
    b: Any
    p: Any
    slope: Any
    """A p - b."""
    U: Any
    """The submatrix of A of the free factors, overwritten by its Cholesky factor."""
    inverse: Any
    z: Any
    free: Any
    """Indices of the free factors, which are > 0, in ascending order."""


@kernel
def solve_nonnegative(counter, n_tasks, tasks, entries, Q, G, start, out, report):
    """Minimise p'Ap - 2 b.p over p >= 0 with A = G + mu I + sum_k c_k q_k q_k', row by row.

    Coordinate descent from ``start`` (Franc, Hlavac & Navara 2005) identifies most of the factors
    that are zero at the minimum. The active-set method of Lawson & Hanson (1974, chapter 23)
    continues from there and reaches the minimum in finitely many steps. Neither increases the
    objective. The status is NOT_CONVERGED if the optimality conditions are not satisfied.
    """
    k = G.shape[0]
    kp = padded(k)
    s = Scratch(
        np.zeros((PANEL, kp)), np.zeros((kp, kp)), np.zeros(kp), np.zeros(k), np.zeros(k),
        np.zeros((kp, kp)), np.zeros(kp), np.zeros(kp), np.zeros(k, np.int64),
    )  # fmt: skip
    task = next_task(counter)
    while task < n_tasks:
        for position in range(tasks.bounds[task], tasks.bounds[task + 1]):
            u = tasks.rows[position]
            set_normal_equations(u, entries, Q, G, s.Z, s.U, s.A, s.b)
            for f in range(k):
                for g in range(f):
                    s.A[f, g] = s.A[g, f]
                s.p[f] = max(np.float64(start[u, f]), 0.0)
            _coordinate_descent(s)
            violation = _active_set(s)
            size = 0.0
            for f in range(k):
                out[u, f] = s.p[f]
                size += np.float64(out[u, f]) * np.float64(out[u, f])
            report.status[u] = SOLVED if violation <= _KKT_TOLERANCE else NOT_CONVERGED
            if not size < np.inf:
                report.status[u] = OVERFLOW
            report.route[u] = NONNEGATIVE
            report.error[u] = violation
        task = next_task(counter)


@device
def _set_slope(s):
    for f in range(s.p.size):
        total = -s.b[f]
        for g in range(s.p.size):
            total += s.A[f, g] * s.p[g]
        s.slope[f] = total


@device
def _coordinate_descent(s):
    """Minimise over one factor after the other, for up to `_SWEEPS` sweeps."""
    k = s.p.size
    _set_slope(s)
    for _sweep in range(_SWEEPS):
        change = largest = 0.0
        for f in range(k):
            change, largest = max(change, _minimise_factor(f, s)), max(largest, s.p[f])
        if change <= 1e-12 * largest:
            break


@device
def _minimise_factor(f, s):
    """Minimise over one factor >= 0 with the others fixed; return the absolute change."""
    if not s.A[f, f] > 0.0:
        return 0.0
    move = max(s.p[f] - s.slope[f] / s.A[f, f], 0.0) - s.p[f]
    s.p[f] += move
    if move != 0.0:
        for g in range(s.p.size):
            s.slope[g] += move * s.A[f, g]
    return abs(move)


@device
def _active_set(s):
    """Run the active-set method; return the largest violation of the KKT conditions over |b|."""
    k = s.p.size
    size = 0.0
    for f in range(k):
        size = max(size, abs(s.b[f]))
    n_free = 0
    for f in range(k):
        if s.p[f] > 0.0:
            s.free[n_free] = f
            n_free += 1
    for _attempt in range(3 * k + 10):
        if not _solve_free(n_free, s):
            break
        n_kept = _step_to_bound(n_free, s)
        if n_kept < n_free:
            n_free = n_kept
            continue
        _set_slope(s)
        steepest, entering = 0.0, -1
        for f in range(k):
            if s.p[f] == 0.0 and s.slope[f] < steepest:
                steepest, entering = s.slope[f], f
        if entering < 0 or -steepest <= _KKT_TOLERANCE * size:
            break
        n_free = _insert_free(entering, n_free, s)
    _set_slope(s)
    violation = 0.0
    for f in range(k):
        violation = max(violation, -s.slope[f] if s.p[f] == 0.0 else abs(s.slope[f]))
    return violation / size if violation > 0.0 else 0.0


@device
def _insert_free(entering, n_free, s):
    """Insert a factor into the sorted list of free factors; return its length."""
    position = n_free
    while position > 0 and s.free[position - 1] > entering:
        s.free[position] = s.free[position - 1]
        position -= 1
    s.free[position] = entering
    return n_free + 1


@device
def _solve_free(n_free, s):
    """Set z to the minimum over the free factors; return False if their matrix is singular."""
    np_ = padded(n_free)
    largest = 0.0
    for i in range(n_free):
        for j in range(i, n_free):
            s.U[i, j] = s.A[s.free[i], s.free[j]]
        largest = max(largest, s.U[i, i])
        s.z[i] = s.b[s.free[i]]
    for i in range(np_):
        for j in range(max(i, n_free), np_):
            s.U[i, j] = largest if i == j else 0.0
        if i >= n_free:
            s.z[i] = 0.0
    if not cholesky(s.U, s.inverse, np_, np_, 1e-15 * s.p.size * largest):
        return False
    solve_transposed(s.U, s.inverse, np_, s.z)
    solve_upper(s.U, s.inverse, np_, s.z)
    return True


@device
def _step_to_bound(n_free, s):
    """Move p towards z as far as p >= 0 allows; return the number of factors that remain free."""
    step_length = 1.0
    for i in range(n_free):
        p = s.p[s.free[i]]
        if s.z[i] <= 0.0:
            step_length = min(step_length, p / (p - s.z[i]) if p > s.z[i] else 0.0)
    n_kept = 0
    for i in range(n_free):
        f = s.free[i]
        moved = s.z[i] if step_length == 1.0 else s.p[f] + step_length * (s.z[i] - s.p[f])
        is_free = moved > 0.0 and (step_length == 1.0 or s.z[i] > 0.0 or moved > 1e-14 * s.p[f])
        s.p[f] = moved if is_free else 0.0
        if is_free:
            s.free[n_kept] = f
            n_kept += 1
    return n_kept
