"""Row solves with all factors >= 0, in float64: coordinate descent, then an active-set method."""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.dense import cholesky, padded, solve_transposed, solve_upper
from twofold._kernels.jit import device, kernel
from twofold._kernels.normal import PANEL, set_normal_equations
from twofold._kernels.rows import NONNEGATIVE, OVERFLOW, SOLVED, UNSETTLED
from twofold._kernels.vectors.tasks import next_task

_SWEEPS = 30
_SETTLED = 1e-10  # slope, relative to the largest linear term, that counts as zero


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
    """The part of A of the factors that are not 0, then its Cholesky factor."""
    inverse: Any
    z: Any
    free: Any
    """The factors that are not 0."""


@kernel
def solve_nonnegatively(counter, n_tasks, tasks, entries, Q, G, start, out, report):
    """Minimise p'Ap - 2 b.p over p >= 0 with A = G + mu I + sum_k c_k q_k q_k', row by row.

    Coordinate descent from ``start`` (Franc, Hlavac & Navara 2005) finds most of the factors that
    are zero at the minimum; the active-set method of Lawson & Hanson (1974, chapter 23), which
    starts from there, ends at the minimum after finitely many solutions. Neither increases the
    objective. A row that does not get there is reported as UNSETTLED.
    """
    k = G.shape[0]
    kp = padded(k)
    s = Scratch(
        np.zeros((PANEL, kp)), np.zeros((kp, kp)), np.zeros(kp), np.zeros(k), np.zeros(k),
        np.zeros((kp, kp)), np.zeros(kp), np.zeros(kp), np.zeros(k, np.int64),
    )  # fmt: skip
    task = next_task(counter)
    while task < n_tasks:
        for place in range(tasks.bounds[task], tasks.bounds[task + 1]):
            u = tasks.rows[place]
            set_normal_equations(u, entries, Q, G, s.Z, s.U, s.A, s.b)
            for f in range(k):
                for g in range(f):
                    s.A[f, g] = s.A[g, f]
                s.p[f] = max(np.float64(start[u, f]), 0.0)
            _descend(s)
            excess = _settle(s)
            size = 0.0
            for f in range(k):
                out[u, f] = s.p[f]
                size += np.float64(out[u, f]) * np.float64(out[u, f])
            report.status[u] = SOLVED if excess <= _SETTLED else UNSETTLED
            if not size < np.inf:
                report.status[u] = OVERFLOW
            report.route[u] = NONNEGATIVE
            report.error[u] = excess
        task = next_task(counter)


@device
def _set_slope(s):
    for f in range(s.p.size):
        total = -s.b[f]
        for g in range(s.p.size):
            total += s.A[f, g] * s.p[g]
        s.slope[f] = total


@device
def _descend(s):
    """Set one factor after the other to its best value >= 0, some times around."""
    k = s.p.size
    _set_slope(s)
    for _sweep in range(_SWEEPS):
        change = largest = 0.0
        for f in range(k):
            change, largest = max(change, _improve(f, s)), max(largest, s.p[f])
        if change <= 1e-12 * largest:
            break


@device
def _improve(f, s):
    """Set a factor to its best value >= 0 for the others; return how far it moved."""
    if not s.A[f, f] > 0.0:
        return 0.0
    move = max(s.p[f] - s.slope[f] / s.A[f, f], 0.0) - s.p[f]
    s.p[f] += move
    if move != 0.0:
        for g in range(s.p.size):
            s.slope[g] += move * s.A[f, g]
    return abs(move)


@device
def _settle(s):
    """Go on to the minimum; return the largest violation of its conditions, relative to b."""
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
        kept = _move(n_free, s)
        if kept < n_free:
            n_free = kept
            continue
        _set_slope(s)
        steepest, entering = 0.0, -1
        for f in range(k):
            if s.p[f] == 0.0 and s.slope[f] < steepest:
                steepest, entering = s.slope[f], f
        if entering < 0 or -steepest <= _SETTLED * size:
            break
        n_free = _insert(entering, n_free, s)
    _set_slope(s)
    excess = 0.0
    for f in range(k):
        excess = max(excess, -s.slope[f] if s.p[f] == 0.0 else abs(s.slope[f]))
    return excess / size if excess > 0.0 else 0.0


@device
def _insert(entering, n_free, s):
    """Add a factor to the free ones, which stay in ascending order."""
    place = n_free
    while place > 0 and s.free[place - 1] > entering:
        s.free[place] = s.free[place - 1]
        place -= 1
    s.free[place] = entering
    return n_free + 1


@device
def _solve_free(n_free, s):
    """Solve for the free factors alone, into z; False if their matrix is singular."""
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
def _move(n_free, s):
    """Move p towards z as far as it stays >= 0; return how many factors are still free."""
    share = 1.0
    for i in range(n_free):
        p = s.p[s.free[i]]
        if s.z[i] <= 0.0:
            share = min(share, p / (p - s.z[i]) if p > s.z[i] else 0.0)
    kept = 0
    for i in range(n_free):
        f = s.free[i]
        moved = s.z[i] if share == 1.0 else s.p[f] + share * (s.z[i] - s.p[f])
        stays = moved > 0.0 and (share == 1.0 or s.z[i] > 0.0 or moved > 1e-14 * s.p[f])
        s.p[f] = moved if stays else 0.0
        if stays:
            s.free[kept] = f
            kept += 1
    return kept
