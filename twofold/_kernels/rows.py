"""Functions shared by the row solvers: status codes, whitening, prefetching and residuals."""

import numpy as np

from twofold._kernels.dense import padded
from twofold._kernels.jit import device, inlined
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import (
    add_rows,
    dot_rows,
    prefetch_at,
    prefetch_row,
    set_normal_terms,
)
from twofold._kernels.vectors.sums import dot

# Status of a row. UNSUITABLE: this route cannot solve the row, but another one may.
SOLVED, UNSUITABLE, SINGULAR, OVERFLOW, NOT_CONVERGED = 0, 1, 2, 3, 4
# Route by which a row was solved.
EMPTY, DUAL, PRIMAL, CG, ORTHOGONAL, NORMAL, NONNEGATIVE = 0, 1, 2, 3, 4, 5, 6

ROW_TOLERANCE = 2e-6
"""Relative error of a row in float32, above which it is refined."""
# Measured: the relative error of a dual solution in float32 is at most
# 4e-7 + DUAL_ERROR x eps x (trace of Z'CZ).
DUAL_ERROR = 0.1

_AHEAD = 1 << 17  # prefetch distance in bytes of factors
_CACHED = 1 << 19  # bytes of factors that the L2 caches of most processors hold


@device
def whitening(spectrum, mu, h):
    """Set h to (S + mu)^-1/2."""
    for f in range(h.size):
        h[f] = 1.0 / np.sqrt(spectrum[f] + mu)


@inlined
def next_row_range(rows, position, end, entries, Y):
    """Return the range of the entries of the next row; prefetch what later rows need first.

    The entries refer to random rows of Y, which are seldom in the cache. The rows of Y of the next
    row or panel are therefore prefetched during the computation, a few for each row of tiles. The
    range is empty if Y is so small that it stays in the cache.
    """
    if position + 4 < end:
        prefetch_at(entries.indptr, rows[position + 4])
        prefetch_at(entries.scale, rows[position + 4])
    if position + 2 < end:
        prefetch_at(entries.indices, entries.indptr[rows[position + 2]])
    if position + 1 < end and Y.size * Y.itemsize > _CACHED:
        return entries.indptr[rows[position + 1]], entries.indptr[rows[position + 1] + 1]
    return 0, 0


@inlined
def prefetch_rows(Y, indices, low, high):
    """Prefetch the rows of Y of the entries low:high."""
    for e in range(low, high):
        prefetch_row(Y, indices[e])


@inlined
def dot_tile(Y, entries, e, m, ids, x, out):
    """Set out[:8] to y.x for the entries e:e+m, m <= 8, and for the last of them again.

    If m < 8, ``ids`` is set to their columns for `add_tile`.
    """
    if m == TILE:
        dot_rows(Y, entries.indices, e, x, out, 0)
    else:
        for r in range(TILE):
            ids[r] = entries.indices[e + min(r, m - 1)]
        dot_rows(Y, ids, 0, x, out, 0)


@inlined
def add_tile(Y, entries, e, m, ids, factor, out):
    """Add sum_r factor[r] y_{e+r} to ``out``; factor[m:8] is 0."""
    if m == TILE:
        add_rows(Y, entries.indices, e, factor, 0, out)
    else:
        add_rows(Y, ids, 0, factor, 0, out)


@device
def set_ids(u, entries, ids):
    """Set ids to the columns of row u, and repeat the last one up to a multiple of 8."""
    indices = entries.indices[entries.indptr[u] : entries.indptr[u + 1]]
    d = indices.size
    for e in range(d):
        ids[e] = indices[e]
    for e in range(d, padded(d)):
        ids[e] = indices[d - 1]


@device
def set_terms(low, high, entries, b, c):
    """Set b and c to the terms of the entries low:high, padded with zeros to a multiple of 8."""
    d = high - low
    # Each loop has one operation and indices >= 0, so that it is compiled to vector instructions.
    if entries.weights.size:
        weights = entries.weights[low:high]
        for e in range(d):
            c[e] = weights[e]
    else:
        for e in range(d):
            c[e] = 1.0
    if entries.targets.size:
        targets = entries.targets[low:high]
        for e in range(d):
            b[e] = c[e] * targets[e]
    else:
        for e in range(d):
            b[e] = c[e]
    if entries.excluded.size:
        excluded = entries.excluded[low:high]
        for e in range(d):
            c[e] -= excluded[e]
    else:
        for e in range(d):
            c[e] -= entries.missing_weight
    for e in range(d, padded(d)):
        b[e] = c[e] = 0.0


@device
def add_normal_terms(d, next_range, indices, Y, x, ids, b, c, dots, terms, total):
    """Set ``dots`` to y_e.x and add sum_e (b_e - c_e y_e.x) y_e to ``total``, for d entries.

    The sum is computed in the dtype of x, ``terms`` and ``total``. The columns ids are from
    `set_ids`, b and c from `set_terms`, and ``terms`` is working memory. The rows of Y of later
    entries, and of indices[next_range], are prefetched.
    """
    distance = max(_AHEAD // (Y.shape[1] * Y.itemsize), TILE)
    next_start, next_stop = next_range
    next_stop = min(next_stop, next_start + distance)
    for e in range(0, d, TILE):
        if e + distance < d:
            prefetch_rows(Y, ids, e + distance, min(e + distance + TILE, d))
        if next_start < next_stop:
            prefetch_rows(Y, indices, next_start, min(next_start + TILE, next_stop))
            next_start += TILE
        set_normal_terms(Y, ids, e, x, b, c, dots, terms)
        # A tile is added after the terms of the next one, so that neither waits for the other.
        if e > 0:
            add_rows(Y, ids, e - TILE, terms, e - TILE, total)
    if d > 0:
        last = (d - 1) // TILE * TILE
        add_rows(Y, ids, last, terms, last, total)


@device
def set_row_sums(u, entries, dots, quadratic, one, other, sums):
    """Set sums[u] to the objective of row u, and to the sum of a x^2 over its entries.

    The objective is sum_e (w (r - x)^2 - a x^2) + p'(G + mu I) p, of which ``quadratic`` is the
    last term. ``dots`` has the predictions x, and a is the weight that an entry excludes from the
    unobserved term. ``one`` and ``other`` are working memory in float64, as long as ``dots``.
    """
    low, high = entries.indptr[u], entries.indptr[u + 1]
    d, square = high - low, 0.0
    end = padded(d)
    for e in range(d, end):
        one[e] = other[e] = 0.0
    if entries.excluded.size:
        excluded = entries.excluded[low:high]
        for e in range(d):
            one[e] = dots[e]
            other[e] = excluded[e] * one[e]
        square = dot(one[:end], other[:end])
    elif entries.missing_weight != 0.0:
        for e in range(d):
            one[e] = dots[e]
        square = entries.missing_weight * dot(one[:end], one[:end])
    if entries.targets.size:
        targets = entries.targets[low:high]
        for e in range(d):
            one[e] = targets[e] - dots[e]
    else:
        for e in range(d):
            one[e] = 1.0 - dots[e]
    if entries.weights.size:
        weights = entries.weights[low:high]
        for e in range(d):
            other[e] = weights[e] * one[e]
    else:
        for e in range(d):
            other[e] = one[e]
    sums[u, 0], sums[u, 1] = dot(one[:end], other[:end]) - square + quadratic, square


@device
def matvec(V, x, arange, out):
    """Set out = V x; ``arange`` is 0, 1, 2, ..."""
    for f in range(0, out.size, TILE):
        dot_rows(V, arange, f, x, out, f)


@device
def rmatvec(V, x, arange, buffer, out):
    """Set out = V' x; ``arange`` is 0, 1, 2, ..., and ``buffer`` is working memory of length 8."""
    for f in range(out.size):
        out[f] = 0.0
    for f in range(0, x.size, TILE):
        for r in range(TILE):
            buffer[r] = x[f + r]
        add_rows(V, arange, f, buffer, 0, out)
