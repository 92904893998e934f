"""Row solves that come nearer step by step, from where the row was: CG and blocks of factors.

Both work on the whitened equations of `rows`, (I + Z_c' Z_c) p^ = Z' b, in which the Gramian costs
nothing and the conditioning is that of the row's own entries. A c < 0 marks a row UNSUITABLE.
"""

import numpy as np
from numba import prange

from twofold._kernels.dense import (
    add_products,
    cholesky,
    padded,
    room,
    solve_transposed,
    solve_upper,
)
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.rows import UNSUITABLE, fetch, following, gather, whitening
from twofold._kernels.simd import TILE, add_rows, dot_rows, next_task

__all__ = ["cg_rows", "subspace_rows"]

_PANEL = 256  # entries that are gathered once; longer rows are gathered anew for every block
_AHEAD = 1 << 17  # bytes of factors that are asked for before they are needed


@parallel_jit
def cg_rows(
    n_workers, counter, rows, bounds, indptr, indices, c, b, spectrum, ridge, Y, start, n_steps,
    tolerance, out, status,
):  # fmt: skip
    """Do at most n_steps of conjugate gradients for each listed row (Hestenes & Stiefel 1952).

    ``start`` and ``out`` are rotated as ``Y`` = Q V is. A row ends when its residual is at most
    ``tolerance`` of its length, which bounds the relative error, as the matrix is I + something
    positive; with a tolerance > 0, one that does not get there is marked UNSUITABLE.
    """
    k = Y.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for _worker in prange(n_workers):
        x = np.zeros(k, Y.dtype)
        r = np.zeros(k, Y.dtype)
        p = np.zeros(k, Y.dtype)
        moved = np.zeros(k, Y.dtype)
        total = np.zeros(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        nothing = np.zeros(1)
        ids = np.empty(TILE, indices.dtype)
        left = np.zeros(TILE, Y.dtype)
        mu = ridge[0]
        whitening(spectrum, mu, h)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                first, stop = indptr[u], indptr[u + 1]
                next_low, next_high = following(rows, place, bounds[task + 1], indptr, indices)
                if step_r:
                    mu = ridge[u]
                    whitening(spectrum, mu, h)
                suits = True
                for e in range(first * step_c, (stop - 1) * step_c + 1):
                    suits &= c[e] >= 0.0
                if not suits:
                    status[u] = UNSUITABLE
                    continue
                for f in range(k):
                    moved[f] = start[u, f]
                    total[f] = real(0.0)
                _add_left(
                    first, stop, next_low, next_high, indices, c, step_c, b, step_b, Y, moved, ids,
                    left, total,
                )  # fmt: skip
                size = length = real(0.0)
                for f in range(k):
                    x[f] = moved[f] / h[f]
                    p[f] = h[f] * total[f] - x[f]
                    r[f] = p[f]
                    size += p[f] * p[f]
                    length += x[f] * x[f]
                near = max(tolerance, np.float64(unit)) ** 2  # below it there is only rounding
                for _step in range(n_steps):
                    if not size > near * length:
                        break
                    for f in range(k):
                        moved[f] = h[f] * p[f]
                        total[f] = real(0.0)
                    _add_left(
                        first,
                        stop,
                        0,
                        0,
                        indices,
                        c,
                        step_c,
                        nothing,
                        0,
                        Y,
                        moved,
                        ids,
                        left,
                        total,
                    )
                    curvature = real(0.0)
                    for f in range(k):
                        total[f] = p[f] - h[f] * total[f]
                        curvature += p[f] * total[f]
                    along = size / curvature
                    new = length = real(0.0)
                    for f in range(k):
                        x[f] += along * p[f]
                        r[f] -= along * total[f]
                        new += r[f] * r[f]
                        length += x[f] * x[f]
                    for f in range(k):
                        p[f] = r[f] + new / size * p[f]
                    size = new
                for f in range(k):
                    out[u, f] = h[f] * x[f]
                if tolerance > 0.0 and not size <= near * length:
                    status[u] = UNSUITABLE
            task = next_task(counter)


@jit
def _add_left(
    first, stop, next_low, next_high, indices, c, step_c, b, step_b, Y, x, ids, left, out
):
    """Add sum_e (b_e - c_e y_e.x) y_e to out, eight entries at a time.

    What comes is asked for meanwhile: further entries of a long row, and those of the next.
    """
    real = Y.dtype.type
    ahead = max(_AHEAD // (Y.shape[1] * Y.itemsize), TILE)
    next_high = min(next_high, next_low + ahead)
    for e in range(first, stop, TILE):
        fetch(Y, indices, min(e + ahead, stop), min(e + ahead + TILE, stop))
        fetch(Y, indices, next_low, min(next_low + TILE, next_high))
        next_low += TILE
        m = min(stop - e, TILE)
        for r in range(TILE):
            ids[r] = indices[e + min(r, m - 1)]
        dot_rows(Y, ids, 0, x, left)
        for r in range(m):
            left[r] = real(b[(e + r) * step_b]) - real(c[(e + r) * step_c]) * left[r]
        for r in range(m, TILE):
            left[r] = 0.0
        add_rows(Y, ids, 0, left, out)


@parallel_jit
def subspace_rows(
    n_workers, counter, rows, bounds, indptr, indices, c, b, spectrum, ridge, Y, start, width, out,
    status,
):  # fmt: skip
    """Solve for ``width`` factors at a time, the others fixed, once around (iALS++).

    Rendle et al. 2021 (arXiv 2110.14044, section 4.1), in whitened coordinates: with the block B,
    (I + Z_B' Z_B) delta = (Z'b - (I + Z'Z) x)_B. ``start`` and ``out`` are rotated as Y is.
    """
    k = Y.shape[1]
    wp = padded(min(width, k))
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    longest = 0
    for place in range(rows.size):
        longest = max(longest, indptr[rows[place] + 1] - indptr[rows[place]])
    for _worker in prange(n_workers):
        Z = np.zeros((_PANEL, room(k)), Y.dtype)
        Z_B = np.zeros((_PANEL, room(wp)), Y.dtype)
        U = np.zeros((wp, room(wp)), Y.dtype)
        inverse = np.zeros(wp, Y.dtype)
        delta = np.zeros(wp, Y.dtype)
        left = np.zeros(longest, Y.dtype)  # Z x, for each entry
        x = np.zeros(k, Y.dtype)
        rhs = np.zeros(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        mu = ridge[0]
        whitening(spectrum, mu, h)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                first, stop = indptr[u], indptr[u + 1]
                next_low, next_high = following(rows, place, bounds[task + 1], indptr, indices)
                fetch(Y, indices, next_low, min(next_low + _PANEL, next_high))
                if step_r:
                    mu = ridge[u]
                    whitening(spectrum, mu, h)
                for f in range(k):
                    x[f] = start[u, f] / h[f]
                    rhs[f] = real(0.0)
                suits = True
                for low in range(first, stop, _PANEL):
                    high = min(low + _PANEL, stop)
                    suits &= gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, rhs)
                    for e in range(high - low):
                        left[low - first + e] = _dot(Z[e, :k], x)
                for low_f in range(0, k if suits else 0, width):
                    m = min(width, k - low_f)
                    for i in range(wp):
                        for j in range(wp):
                            U[i, j] = real(0.0)
                        U[i, i] = real(1.0)
                    for f in range(wp):
                        delta[f] = rhs[low_f + f] - x[low_f + f] if f < m else real(0.0)
                    for low in range(first, stop, _PANEL):
                        high = min(low + _PANEL, stop)
                        if stop - first > _PANEL:
                            gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, h[:0])
                        for e in range(high - low):
                            for f in range(m):
                                Z_B[e, f] = Z[e, low_f + f]
                                delta[f] -= left[low - first + e] * Z_B[e, f]
                            for f in range(m, wp):
                                Z_B[e, f] = real(0.0)
                        add_products(Z_B, high - low, wp, U)
                    suits &= cholesky(U, inverse, wp, wp, 0.0)
                    solve_transposed(U, inverse, wp, delta)
                    solve_upper(U, inverse, wp, delta)
                    for f in range(m):
                        x[low_f + f] += delta[f]
                    for low in range(first, stop, _PANEL):
                        high = min(low + _PANEL, stop)
                        if stop - first > _PANEL:
                            gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, h[:0])
                        for e in range(high - low):
                            total = real(0.0)
                            for f in range(m):
                                total += Z[e, low_f + f] * delta[f]
                            left[low - first + e] += total
                if not suits:
                    status[u] = UNSUITABLE
                    continue
                for f in range(k):
                    out[u, f] = h[f] * x[f]
            task = next_task(counter)


@jit
def _dot(one, other):
    total = one.dtype.type(0.0)
    for f in range(one.size):
        total += one[f] * other[f]
    return total
