"""Dense products of tall thin matrices, in fixed chunks: the same bits at any thread count."""

import numpy as np
from numba import prange

from twofold._kernels.dense import add_products, padded, room
from twofold._kernels.jit import parallel_jit

__all__ = ["gramian", "rows_times_square", "times_square"]

_PANEL = 1024  # rows converted and multiplied at a time: a panel of rank 64 fits in the cache
_GRAM_PANEL = 32


@parallel_jit
def gramian(factors, n_chunks):
    """F'F in float64; ``n_chunks`` partial sums are added in order."""
    n, k = factors.shape
    kp = padded(k)
    partial = np.zeros((n_chunks, kp, room(kp)))
    for chunk in prange(n_chunks):
        start = n * chunk // n_chunks
        stop = n * (chunk + 1) // n_chunks
        panel = np.zeros((_GRAM_PANEL, room(kp)))
        for low in range(start, stop, _GRAM_PANEL):
            m = min(_GRAM_PANEL, stop - low)
            for e in range(m):
                for f in range(k):
                    panel[e, f] = factors[low + e, f]
            add_products(panel, m, kp, partial[chunk])
    total = np.zeros((k, k))
    for chunk in range(n_chunks):
        total += partial[chunk, :k, :k]
    for f in range(k):
        for g in range(f):
            total[f, g] = total[g, f]
    return total


@parallel_jit
def times_square(factors, square, out):
    """Set out = F M for a k x k matrix M: computed in the dtype of M, rounded to that of out."""
    n = factors.shape[0]
    n_chunks = (n + _PANEL - 1) // _PANEL
    for chunk in prange(n_chunks):
        low = chunk * _PANEL
        high = min(low + _PANEL, n)
        out[low:high] = np.dot(factors[low:high].astype(square.dtype), square)


@parallel_jit
def rows_times_square(factors, rows, square, out):
    """Set out[rows] = F[rows] M as `times_square` does."""
    n_chunks = (rows.size + _PANEL - 1) // _PANEL
    for chunk in prange(n_chunks):
        low = chunk * _PANEL
        high = min(low + _PANEL, rows.size)
        panel = np.empty((high - low, factors.shape[1]), square.dtype)
        for place in range(low, high):
            panel[place - low] = factors[rows[place]]
        product = np.dot(panel, square)
        for place in range(low, high):
            out[rows[place]] = product[place - low]
