"""What the ways of solving a row share: results, whitening, prefetching and residuals."""

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.jit import device, inlined
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import add_rows, dot_rows, prefetch_at, prefetch_row

# The status of a row. UNSUITABLE: this way cannot solve it, another one may.
SOLVED, UNSUITABLE, SINGULAR, OVERFLOW, UNSETTLED = 0, 1, 2, 3, 4
# The way by which it was solved.
EMPTY, DUAL, PRIMAL, CG, ORTHOGONAL, NORMAL, NONNEGATIVE = 0, 1, 2, 3, 4, 5, 6

ENOUGH = 2e-6
"""Relative error of a float32 row that is not refined, and at which refining it stops."""
# Measured: the relative error of a dual solution in float32 is at most 4e-7 + this much of
# (rounding unit) x (trace of Z'CZ).
DUAL_ERROR = 0.1

_AHEAD = 1 << 17  # bytes of factors that are prefetched before they are needed


@device
def whitening(spectrum, mu, h):
    """Set h to (S + mu)^-1/2."""
    for f in range(h.size):
        h[f] = 1.0 / np.sqrt(spectrum[f] + mu)


@inlined
def following(rows, place, end, entries):
    """Return where the entries of the next row begin and end; prefetch the ids of the one after.

    Random rows of Y are in distant memory, so those of the next row or panel are prefetched while
    this one is computed, a few for each row of tiles.
    """
    if place + 2 < end:
        prefetch_at(entries.indices, entries.indptr[rows[place + 2]])
    if place + 1 < end:
        return entries.indptr[rows[place + 1]], entries.indptr[rows[place + 1] + 1]
    return 0, 0


@inlined
def fetch(Y, indices, low, high):
    """Prefetch the rows of Y of the entries from low to high."""
    for e in range(low, high):
        prefetch_row(Y, indices[e])


@device
def add_left(low, high, ahead, entries, Y, x, ids, left, total):
    """Add sum_e (b_e - c_e y_e.x) y_e over the entries of a row to total, eight at a time.

    It is computed in the dtype of x, left and total. Further entries of a long row and the rows
    ``ahead`` are prefetched meanwhile.
    """
    distance = max(_AHEAD // (Y.shape[1] * Y.itemsize), TILE)
    coming, end = ahead
    end = min(end, coming + distance)
    for e in range(low, high, TILE):
        fetch(Y, entries.indices, min(e + distance, high), min(e + distance + TILE, high))
        fetch(Y, entries.indices, coming, min(coming + TILE, end))
        coming += TILE
        m = min(high - e, TILE)
        for r in range(TILE):
            ids[r] = entries.indices[e + min(r, m - 1)]
        dot_rows(Y, ids, 0, x, left)
        for r in range(m):
            left[r] = linear(entries, e + r) - curvature(entries, e + r) * np.float64(left[r])
        for r in range(m, TILE):
            left[r] = 0.0
        add_rows(Y, ids, 0, left, total)


@device
def times(V, x, numbers, eight, out):
    """Set out = V x; ``numbers`` is 0, 1, 2, ..., and ``eight`` working memory."""
    for f in range(0, out.size, TILE):
        dot_rows(V, numbers, f, x, eight)
        for r in range(TILE):
            out[f + r] = eight[r]


@device
def transposed_times(V, x, numbers, eight, out):
    """Set out = V' x, as `times`."""
    for f in range(out.size):
        out[f] = 0.0
    for f in range(0, x.size, TILE):
        for r in range(TILE):
            eight[r] = x[f + r]
        add_rows(V, numbers, f, eight, out)
