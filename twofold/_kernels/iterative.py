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
from twofold._kernels.rows import DUAL_ERROR, UNSUITABLE, fetch, following, gather, whitening
from twofold._kernels.simd import TILE, add_rows, dot_rows, next_task

__all__ = ["cg_rows", "subspace_rows", "whitened_lengths"]

_PANEL = 256  # entries that are gathered once; longer rows are gathered anew for every block
_AHEAD = 1 << 17  # bytes of factors that are asked for before they are needed


@parallel_jit
def whitened_lengths(Y, spectrum, mu, out):
    """Set out to |z_i|^2 for every row of Y."""
    h = np.empty(Y.shape[1])
    whitening(spectrum, mu, h)
    n_chunks = (Y.shape[0] + 1023) // 1024
    for chunk in prange(n_chunks):
        for i in range(chunk * 1024, min(chunk * 1024 + 1024, Y.shape[0])):
            total = 0.0
            for f in range(Y.shape[1]):
                z = h[f] * Y[i, f]
                total += z * z
            out[i] = total


@parallel_jit
def cg_rows(
    n_workers, counter, rows, bounds, indptr, indices, c, b, spectrum, ridge, Y, lengths, start,
    n_steps, tolerance, out, status,
):  # fmt: skip
    """Do at most n_steps of conjugate gradients for each listed row (Hestenes & Stiefel 1952).

    ``start`` and ``out`` are rotated as ``Y`` = Q V is.

    With a tolerance > 0 a row ends when its residual r bounds the relative error by it: the matrix
    is I + something positive, so p^ is wrong by at most |r|, and p by max(h) |r|. The recurrence's
    residual does not see rounding, so it is computed anew in float64, and the steps go on from that
    if need be. A row that does not get there is marked UNSUITABLE, and so is one to which the
    rounding of Y itself could matter, by the ``lengths`` |z_i|^2.
    """
    k = Y.shape[1]
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for _worker in prange(n_workers):
        x = np.zeros(k)
        exact = np.zeros(k)
        r = np.zeros(k, Y.dtype)
        p = np.zeros(k, Y.dtype)
        moved = np.zeros(k, Y.dtype)
        total = np.zeros(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        none = np.zeros(1)
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
                if tolerance > 0.0:
                    trace = 0.0
                    for e in range(first, stop):
                        trace += c[e * step_c] * lengths[indices[e]]
                    suits &= unit * DUAL_ERROR * trace <= tolerance
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
                length = 0.0
                for f in range(k):
                    x[f] = moved[f] / h[f]
                    r[f] = h[f] * total[f] - real(x[f])
                    length += moved[f] * moved[f]
                near = (max(tolerance, np.float64(unit)) / h.max()) ** 2
                steps = 0
                while True:
                    size = _square(r)
                    for f in range(k):
                        p[f] = r[f]
                    while steps < n_steps and size > near * length:
                        steps += 1
                        for f in range(k):
                            moved[f] = h[f] * p[f]
                            total[f] = real(0.0)
                        _add_left(
                            first, stop, 0, 0, indices, c, step_c, none, 0, Y, moved, ids, left,
                            total,
                        )  # fmt: skip
                        curvature = real(0.0)
                        for f in range(k):
                            total[f] = p[f] - h[f] * total[f]
                            curvature += p[f] * total[f]
                        along = size / curvature
                        length = 0.0
                        for f in range(k):
                            x[f] += along * p[f]
                            r[f] -= along * total[f]
                            length += (h[f] * x[f]) * (h[f] * x[f])
                        new = _square(r)
                        for f in range(k):
                            p[f] = r[f] + new / size * p[f]
                        size = new
                    if tolerance == 0.0:
                        break
                    _residual(first, stop, indices, c, step_c, b, step_b, h, Y, x, exact)
                    for f in range(k):
                        r[f] = real(exact[f])
                    if _square(r) <= near * length:
                        break
                    if steps >= n_steps:
                        status[u] = UNSUITABLE
                        break
                for f in range(k):
                    out[u, f] = real(h[f] * x[f])
            task = next_task(counter)


@jit
def _square(x):
    total = x.dtype.type(0.0)
    for f in range(x.size):
        total += x[f] * x[f]
    return total


@jit
def _residual(first, stop, indices, c, step_c, b, step_b, h, Y, x, out):
    """Set out = Z'b - (I + Z_c' Z_c) x, in float64; four entries at once."""
    k = Y.shape[1]
    moved = np.empty(k)
    total = np.zeros(k)
    for f in range(k):
        moved[f] = h[f] * x[f]
    whole = first + (stop - first) // 4 * 4
    for e in range(first, whole, 4):
        y0, y1, y2, y3 = Y[indices[e]], Y[indices[e + 1]], Y[indices[e + 2]], Y[indices[e + 3]]
        s0 = s1 = s2 = s3 = 0.0
        for f in range(k):
            value = moved[f]
            s0 += y0[f] * value
            s1 += y1[f] * value
            s2 += y2[f] * value
            s3 += y3[f] * value
        s0 = b[e * step_b] - c[e * step_c] * s0
        s1 = b[(e + 1) * step_b] - c[(e + 1) * step_c] * s1
        s2 = b[(e + 2) * step_b] - c[(e + 2) * step_c] * s2
        s3 = b[(e + 3) * step_b] - c[(e + 3) * step_c] * s3
        for f in range(k):
            total[f] += s0 * y0[f] + s1 * y1[f] + s2 * y2[f] + s3 * y3[f]
    for e in range(whole, stop):
        y = Y[indices[e]]
        value = 0.0
        for f in range(k):
            value += y[f] * moved[f]
        value = b[e * step_b] - c[e * step_c] * value
        for f in range(k):
            total[f] += value * y[f]
    for f in range(k):
        out[f] = h[f] * total[f] - x[f]


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
