"""Row solves that come nearer step by step, from where the row was: CG and blocks of factors.

Both work on the whitened equations of `rows`, (I + Z_c' Z_c) p^ = Z' b, in which the Gramian costs
nothing and the conditioning is that of the row's own entries. A c < 0 marks a row UNSUITABLE.
"""

import numpy as np
from numba import prange

from twofold._kernels.dense import add_products, cholesky, padded, solve_transposed, solve_upper
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.rows import UNSUITABLE, gather, prefetch_following, whitening
from twofold._kernels.simd import TILE, next_task

__all__ = ["cg_rows", "subspace_rows"]

_PANEL = 256  # entries that are gathered once; longer rows are gathered anew for every product


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
    kp = padded(k)
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    unit = np.finfo(Y.dtype).eps
    for _worker in prange(n_workers):
        Z = np.zeros((_PANEL, kp), Y.dtype)
        x = np.zeros(k, Y.dtype)
        r = np.zeros(k, Y.dtype)
        p = np.zeros(k, Y.dtype)
        product = np.zeros(k, Y.dtype)
        h = np.empty(k, Y.dtype)
        mu = ridge[0]
        whitening(spectrum, mu, h)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                first, stop = indptr[u], indptr[u + 1]
                prefetch_following(rows, place, bounds[task + 1], indptr, indices, Y)
                if step_r:
                    mu = ridge[u]
                    whitening(spectrum, mu, h)
                for f in range(k):
                    x[f] = start[u, f] / h[f]
                    r[f] = -x[f]
                suits = True
                for low in range(first, stop, _PANEL):
                    high = min(low + _PANEL, stop)
                    # Adds Z'b to r.
                    suits &= gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, r)
                    _add_product(Z, high - low, k, real(-1.0), x, r)
                if not suits:
                    status[u] = UNSUITABLE
                    continue
                size = _dot(r, r)
                for f in range(k):
                    p[f] = r[f]
                near = max(tolerance, np.float64(unit)) ** 2  # below it there is only rounding
                for _step in range(n_steps):
                    if not size > near * _dot(x, x):
                        break
                    for f in range(k):
                        product[f] = p[f]
                    if stop - first <= _PANEL:
                        _add_product(Z, stop - first, k, real(1.0), p, product)
                    else:
                        for low in range(first, stop, _PANEL):
                            high = min(low + _PANEL, stop)
                            gather(low, high, indices, c, step_c, b, step_b, h, Y, Z, h[:0])
                            _add_product(Z, high - low, k, real(1.0), p, product)
                    along = size / _dot(p, product)
                    for f in range(k):
                        x[f] += along * p[f]
                        r[f] -= along * product[f]
                    new = _dot(r, r)
                    for f in range(k):
                        p[f] = r[f] + new / size * p[f]
                    size = new
                for f in range(k):
                    out[u, f] = h[f] * x[f]
                if tolerance > 0.0 and not size <= near * _dot(x, x):
                    status[u] = UNSUITABLE
            task = next_task(counter)


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
    kp = padded(k)
    wp = padded(min(width, k))
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    real = Y.dtype.type
    longest = 0
    for place in range(rows.size):
        longest = max(longest, indptr[rows[place] + 1] - indptr[rows[place]])
    for _worker in prange(n_workers):
        Z = np.zeros((_PANEL, kp), Y.dtype)
        Z_B = np.zeros((_PANEL, wp), Y.dtype)
        U = np.zeros((wp, wp + TILE), Y.dtype)
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
                prefetch_following(rows, place, bounds[task + 1], indptr, indices, Y)
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


@jit
def _add_product(Z, d, k, sign, x, out):
    """Add sign Z'(Z x) to out, for the first d rows and k columns of Z; four rows at a time."""
    zero = Z.dtype.type(0.0)
    whole = d // 4 * 4
    for e in range(0, whole, 4):
        z0, z1, z2, z3 = Z[e], Z[e + 1], Z[e + 2], Z[e + 3]
        s0 = s1 = s2 = s3 = zero
        for f in range(k):
            value = x[f]
            s0 += z0[f] * value
            s1 += z1[f] * value
            s2 += z2[f] * value
            s3 += z3[f] * value
        s0, s1, s2, s3 = sign * s0, sign * s1, sign * s2, sign * s3
        for f in range(k):
            out[f] += s0 * z0[f] + s1 * z1[f] + s2 * z2[f] + s3 * z3[f]
    for e in range(whole, d):
        z = Z[e]
        total = zero
        for f in range(k):
            total += z[f] * x[f]
        total *= sign
        for f in range(k):
            out[f] += total * z[f]
